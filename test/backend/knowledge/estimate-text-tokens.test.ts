/** The estimate against a real tokenizer: never far below it, on text of many kinds. */
import { createHash } from "node:crypto";
import { encode } from "gpt-tokenizer/encoding/o200k_base";
import { describe, expect, it } from "vitest";
import { estimateTextTokens } from "../../../backend/knowledge/estimate-text-tokens.ts";

const base64 = createHash("sha512").update("some bytes").digest("base64").repeat(4);
const TEXTS = {
  English:
    "Every wait has a deadline: one budget per request, handed on over every hop. Every queue is bounded; over the bound, callers are told when to come back. The gateway knows who calls, how much they may, and which agent is meant. ",
  German:
    "Jede Anfrage hat ein Zeitlimit, das über alle Stationen weitergegeben wird. Die Warteschlangen sind begrenzt; wer darüber hinaus etwas will, erfährt, wann er wiederkommen soll. Größere Änderungen müssen überprüft werden. ",
  Russian:
    "Каждый запрос имеет предельное время, которое передаётся дальше. Очереди ограничены, и превышающие предел запросы получают ответ, когда следует вернуться. ",
  Chinese:
    "每个请求都有时间限制，并在每一跳之间传递。队列是有界的；超过上限时，调用者会被告知何时再来。网关知道谁在调用。",
  Japanese:
    "すべての要求には期限があり、各段階に引き継がれます。キューには上限があり、超えた場合はいつ戻るべきかが伝えられます。",
  code: "export async function readBody(request: Request, { bytesMax }: Options): Promise<string> {\n  if (Number(request.headers.get('content-length') ?? 0) > bytesMax) throw tooLarge(bytesMax);\n  return await request.text();\n}\n",
  "a table":
    "| tenant | requests | tokens |\n| --- | ---: | ---: |\n| acme | 12,345 | 1,234,567 |\n| default | 600 | 200,000 |\n",
  digits:
    "3141592653589793238462643383279502884197169399375105820974944592307816406286208998628034825342117067",
};

describe("the estimate of tokens", () => {
  it.each(Object.entries(TEXTS))("is near the real number for %s, and rather above it", (_, sample) => {
    const text = sample.repeat(4);
    const ratio = estimateTextTokens(text) / encode(text, { disallowedSpecial: new Set() }).length;
    expect(ratio).toBeGreaterThan(0.9);
    expect(ratio).toBeLessThan(1.8);
  });

  it("of data in base64 is not so far below that a chunk would be twice too long", () => {
    const real = encode(base64).length;
    expect(estimateTextTokens(base64) / real).toBeGreaterThan(0.75);
  });

  it("of a part is that part's", () => {
    expect(estimateTextTokens("aaaa bbbb", 5)).toBe(estimateTextTokens("bbbb"));
    expect(estimateTextTokens("")).toBe(0);
  });
});
