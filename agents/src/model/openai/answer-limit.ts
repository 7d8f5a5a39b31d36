// A model limits the tokens of an answer, and those of the request and the answer together. A server that refuses a request for more
// names its limit, so the request can be sent again with a lower `max_tokens`.

/** Minimum tokens for a useful answer. */
const MIN_TOKENS = 16;

/** Refusals that name the limit of the answer. */
const ANSWER_LIMITS = [
  // OpenAI
  /supports at most (\d+) completion tokens/i,
  // DeepSeek
  /max_tokens[^.]{0,40}\[\d+, ?(\d+)\]/i,
  // Anthropic behind a gateway
  /max_tokens: \d+ > (\d+)/i,
  // Groq
  /max_tokens`? must be less than or equal to `?(\d+)/i,
];
/** Refusals that name the tokens of the context, then those of the request. */
const CONTEXT_LIMITS = [
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
  const ofAnswer = firstMatch(ANSWER_LIMITS, reason);
  const ofBoth = ofAnswer ? undefined : firstMatch(CONTEXT_LIMITS, reason);
  const left = ofAnswer ? Number(ofAnswer[1]) : ofBoth ? Number(ofBoth[1]) - Number(ofBoth[2]) : undefined;
  return left !== undefined && left >= MIN_TOKENS && left < asked ? left : undefined;
}

function firstMatch(patterns: readonly RegExp[], text: string): RegExpExecArray | undefined {
  for (const pattern of patterns) {
    const match = pattern.exec(text);
    if (match) return match;
  }
  return undefined;
}
