// Models limit the tokens of an answer, and of the request and the answer together. A server refuses a request for more and says how
// many it has, so the request can be sent again with a limit that fits.

/** Fewest tokens that are worth an answer. */
const MIN_TOKENS = 16;

/** Limits of the answer alone, with the number. */
const OF_ANSWER = [
  // OpenAI
  /supports at most (\d+) completion tokens/i,
  // DeepSeek
  /max_tokens[^.]{0,40}\[\d+, ?(\d+)\]/i,
  // Anthropic behind a gateway
  /max_tokens: \d+ > (\d+)/i,
  // Groq
  /max_tokens`? must be less than or equal to `?(\d+)/i,
];
/** Limits of request and answer together: the tokens of the context, then those of the request. */
const OF_BOTH = [
  // OpenAI, vLLM, LiteLLM
  /maximum context length is (\d+) tokens.{0,80}\((\d+) in the messages/is,
  // vLLM
  /maximum context length is (\d+) tokens and your request has (\d+) input tokens/i,
  // text-generation-inference
  /`?max_new_tokens`? must be <= (\d+)\. Given: (\d+) `?inputs`? tokens/i,
  // SGLang
  /context length of (\d+) tokens.{0,120}?(\d+) tokens from the input/is,
  // OpenRouter
  /maximum context length is (\d+) tokens.{0,80}\((\d+) of text input/is,
];

/** Returns the number of answer tokens that a refusal allows; undefined if it names none below `asked`, or too few. */
export function allowedTokens(reason: string, asked: number): number | undefined {
  const ofAnswer = OF_ANSWER.map((pattern) => pattern.exec(reason)?.[1]).find((one) => one !== undefined);
  const ofBoth = OF_BOTH.map((pattern) => pattern.exec(reason)).find((match) => match !== null);
  const left = ofAnswer ? Number(ofAnswer) : ofBoth ? Number(ofBoth[1]) - Number(ofBoth[2]) : undefined;
  return left !== undefined && left >= MIN_TOKENS && left < asked ? left : undefined;
}
