// Answers a question with the sentence of the system prompt or of an earlier message that shares the most words with it, so a
// specialized agent can answer from its instructions.
import type { Conversation } from './conversation.ts';
import { isQuestion } from './facts.ts';
import { wordsOf } from './words.ts';

const sentences = (text: string): string[] =>
  text
    .slice(0, 20_000)
    .split(/(?<=[.!?])\s+|\n+/)
    .map((sentence) => sentence.replace(/^[-*•\d.)\s]+(?=\p{L})/u, '').trim())
    .filter(Boolean);

/** Returns the best sentence for a question, or undefined if none shares two words with it. */
export function recall(question: string, conversation: Conversation): string | undefined {
  const wanted = wordsOf(question);
  let best: { score: number; text: string } | undefined;
  const offer = (texts: readonly string[], format: (sentence: string) => string): void => {
    for (const sentence of texts) {
      const words = wordsOf(sentence);
      const score = [...wanted].filter((word) => words.has(word)).length;
      if (score >= 2 && score > (best?.score ?? 0)) best = { score, text: format(sentence) };
    }
  };
  const earlier = conversation.last ? conversation.userTexts.slice(0, -1) : conversation.userTexts;
  offer(
    sentences(conversation.system).filter(
      (sentence) => !/^(?:you|please|always|never|speak|answer|be)\b/i.test(sentence),
    ),
    (s) => s,
  );
  // A statement is not answered with a similar earlier message.
  if (!isQuestion(question)) return best?.text;
  offer(
    earlier.flatMap(sentences).filter((sentence) => !sentence.endsWith('?')),
    (sentence) => `You told me: "${sentence}"`,
  );
  return best?.text;
}
