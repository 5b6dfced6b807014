# Runs a command so that it does not outlive the program that started this script, however that one ends.
#
#   guard.sh GRACE_SECONDS COMMAND [ARGUMENT…]
#
# Must be started as the leader of a process group of its own, with a pipe as standard input that only its parent
# holds open. The command takes this script's place (exec): its pid, signals and exit code are the command's own.
# Beside it a watcher, in the same group, waits for the pipe to end, which the kernel sees to even after kill -9 of
# the parent; then it terminates the group, and kills it when the command still runs after GRACE_SECONDS.

grace_seconds=$1
shift

# $$ is the command's pid. It cannot pass to another process: it also names this group. Where nobody reaps orphans,
# an ended command stays as a zombie, and kill -0 still finds it.
command_runs() {
  kill -0 "$$" || return 1
  case $(cat "/proc/$$/stat") in *") Z "*) return 1 ;; esac
}

# A background command would get /dev/null in place of the pipe.
exec 9<&0
(
  trap '' HUP INT TERM
  cat <&9
  kill -TERM 0
  tries=$((grace_seconds * 5))
  while [ "$tries" -gt 0 ] && command_runs; do
    sleep 0.2
    tries=$((tries - 1))
  done
  kill -KILL 0
) >/dev/null 2>&1 3<&- &
exec "$@" </dev/null 9<&-
