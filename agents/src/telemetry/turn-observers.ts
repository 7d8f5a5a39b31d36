// Several observers of turns as one. Their `run` nests, in the order of the list.
import {
  type ModelCallObservation,
  NO_OBSERVER,
  type ToolCallObservation,
  type TurnObservation,
  type TurnObserver,
} from './turn-observer.ts';

/** Returns one observer that notifies all of `observers`. @default with none, one that observes nothing */
export function allObservers(observers: readonly TurnObserver[]): TurnObserver {
  if (observers.length <= 1) return observers[0] ?? NO_OBSERVER;
  return {
    accepted: (turn) => allOfTurn(observers.map((one) => one.accepted(turn))),
    journalWritten(ms, rows, chars, error) {
      for (const one of observers) one.journalWritten(ms, rows, chars, error);
    },
  };
}

interface Runs {
  run<T>(work: () => T): T;
}

const runIn =
  (all: readonly Runs[]) =>
  <T>(work: () => T): T =>
    all.reduceRight<() => T>((inner, one) => () => one.run(inner), work)();

const allOfTurn = (all: readonly TurnObservation[]): TurnObservation => ({
  trace: all.find(({ trace }) => trace)?.trace,
  run: runIn(all),
  started() {
    for (const one of all) one.started();
  },
  modelCalled: (step, model, request) =>
    allOfModelCall(all.map((one) => one.modelCalled(step, model, request))),
  toolStarted: (call, args) => allOfToolCall(all.map((one) => one.toolStarted(call, args))),
  ended(outcome, isReleased) {
    for (const one of all) one.ended(outcome, isReleased);
  },
});

const allOfModelCall = (all: readonly ModelCallObservation[]): ModelCallObservation => ({
  run: runIn(all),
  firstToken() {
    for (const one of all) one.firstToken();
  },
  waiting(wait) {
    for (const one of all) one.waiting(wait);
  },
  replied(reply) {
    for (const one of all) one.replied(reply);
  },
  failed(error) {
    for (const one of all) one.failed(error);
  },
});

const allOfToolCall = (all: readonly ToolCallObservation[]): ToolCallObservation => ({
  run: runIn(all),
  finished(result) {
    for (const one of all) one.finished(result);
  },
  failed(error) {
    for (const one of all) one.failed(error);
  },
});
