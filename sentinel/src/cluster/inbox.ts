// Questions to other sentinels, and the answers to them: one subscription for all questions of this process.
import type { Bus } from './bus.ts';
import type { Subjects } from './subjects.ts';

/** Receives an answer; `undefined` means that no sentinel subscribes to the subject of the question. */
export type OnAnswer = (answer: Uint8Array | undefined) => void;

export class Inbox {
  readonly #bus: Bus;
  readonly #subjects: Subjects;
  readonly #process: string;
  readonly #open = new Map<number, OnAnswer>();
  #lastNumber = 0;

  /** @param process random text that identifies this process */
  constructor(bus: Bus, subjects: Subjects, process: string) {
    this.#bus = bus;
    this.#subjects = subjects;
    this.#process = process;
    bus.subscribe(subjects.inbox(process), ({ subject, payload, hasNoResponders }) => {
      this.#open.get(subjects.questionOf(subject))?.(hasNoResponders ? undefined : payload);
    });
  }

  /** Asks a question. Returns a function that ends it: its later answers are ignored. */
  ask(subject: string, question: Uint8Array, onAnswer: OnAnswer): () => void {
    const number = ++this.#lastNumber;
    this.#open.set(number, onAnswer);
    this.#bus.publish(subject, question, this.#subjects.answer(this.#process, number));
    return () => void this.#open.delete(number);
  }
}
