/** What of an HTML document becomes text: what its readers see, in its structure, and nothing that runs. */
import { describe, expect, it } from "vitest";
import { HTML_DEPTH_MAX } from "../../../backend/knowledge/document-limits.ts";
import { readHtml } from "../../../backend/knowledge/read-html.ts";

const text = (html: string) => readHtml(html).text;

describe("readHtml", () => {
  it("keeps headings, paragraphs, lists, code and tables, as Markdown", () => {
    const html = `<!doctype html><html><head><title> The
      manual </title><style>p { color: red }</style></head><body>
      <h1>Manual</h1><p>First   <b>bold</b>,
      then <a href="javascript:evil()">a link</a>.</p><p>Second.<br>On a new line.</p>
      <h2>Steps</h2><ul><li>one</li><li><p>two</p><ol><li>deeper</li></ol></li></ul>
      <pre><code>if (a &lt; b) {\n  run();\n}</code></pre>
      <table><tr><th>Name</th><th>Limit</th></tr><tr><td>a|b</td><td>5\n<p>each</p></td></tr></table>
      <p>After.</p></body></html>`;
    expect(readHtml(html)).toEqual({
      title: "The manual",
      text: [
        "# Manual",
        "First bold, then a link.",
        "Second.\nOn a new line.",
        "## Steps",
        "- one\n- two\n  - deeper",
        "```\nif (a < b) {\n  run();\n}\n```",
        "| Name | Limit |\n| --- | --- |\n| a\\|b | 5 each |",
        "After.",
      ].join("\n\n"),
    });
  });

  it("leaves out scripts, styles, event handlers, hidden elements and navigation", () => {
    const html = `<nav>Home</nav><p onclick="steal()" title="x">Visible</p><script>steal("</p>")</script>
      <style>secret</style><noscript>secret</noscript><iframe src="x">secret</iframe>
      <div hidden><p>secret</p></div><p style="color:red; DISPLAY : none">secret</p><svg><text>secret</text></svg>
      <template><p>secret</p></template><!-- secret --><p>End</p>`;
    expect(text(html)).toBe("Visible\n\nEnd");
  });

  it("decodes entities once", () => {
    expect(text("<p>Caf&eacute; &amp;lt;b&amp;gt; &#x1F600; &nbsp;x &unknown;</p>")).toBe(
      "Café &lt;b&gt; 😀 x &unknown;",
    );
  });

  it("does not let text pass for Markdown that it is not", () => {
    expect(text("<p># not a heading</p><p>```</p><p>a</p><p>---</p>")).toBe(
      "\\# not a heading\n\n\\```\n\na\n\n\\---",
    );
    expect(text("<pre>```\n# code\n```</pre>")).toBe("````\n```\n# code\n```\n````");
  });

  it("reads broken markup as browsers do, and text without any", () => {
    expect(text("<p>one<p>two<li>three</div></span>four")).toBe("one\n\ntwo\n- threefour");
    expect(text("a < b and c > d")).toBe("a < b and c > d");
    expect(text("<table><tr><td>a<table><tr><td>b</td></tr></table></td><td>c</td></tr></table>d")).toBe(
      "| a b | c |\n| --- | --- |\n\nd",
    );
  });

  it("reads elements as deep in one another as the limit, and refuses deeper ones at once", () => {
    const nested = (depth: number) => `${"<div>".repeat(depth)}deep${"</div>".repeat(depth)}`;
    expect(text(nested(HTML_DEPTH_MAX))).toBe("deep");
    expect(() => text(nested(HTML_DEPTH_MAX + 1))).toThrow(/more than 2000 deep/);
    const startedAtMs = performance.now();
    expect(() => text(nested(100_000))).toThrow(expect.objectContaining({ reason: "document-too-complex" }));
    expect(performance.now() - startedAtMs).toBeLessThan(5_000);
  });

  it.each([
    ["tags that nothing closes", `${"<b>".repeat(2_000)}${"</i>".repeat(300_000)}`],
    ["attributes", `<p ${"a=b ".repeat(300_000)}>x`],
    ["entities", "&amp;".repeat(300_000)],
    ["an attribute that does not end", `<p title="${"x".repeat(2_000_000)}`],
    ["a comment that does not end", `<!--${"-".repeat(2_000_000)}`],
    ["spaces in one line", `<p>a${" ".repeat(2_000_000)}b`],
    ["code with fences", `<pre>${"```".repeat(300_000)}</pre>`],
    ["rows", `<table>${"<tr><td>a".repeat(150_000)}`],
  ])("takes bounded time for %s", (_, html) => {
    const startedAtMs = performance.now();
    readHtml(html);
    expect(performance.now() - startedAtMs).toBeLessThan(15_000);
  });
});
