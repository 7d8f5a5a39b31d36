// The report of a turn: its state, times, outcome and steps, built from its events in the journal.
import { addCost, type Cost } from '../../model/cost.ts';
import type { ToolCall, Usage } from '../../model/model.ts';
import { addUsage, noUsage } from '../../model/usage.ts';
import type { JournalEvent } from '../../store/store.ts';
import type { TurnFinish } from '../../turn/turn-options.ts';
import { Approvals } from '../approval/approvals.ts';
import { CONVERSATION_LIMITS, type TurnOutcome } from '../conversation.ts';
import { type Bodies, bodyOf, outcomeOf } from '../journal/journal.ts';
import { recordedTurn } from '../journal/recorded-turn.ts';
import { isoTime } from './recorded-event.ts';

/** Report of a turn on the wire. */
export interface TurnReport {
  conversation_id: string;
  turn_id: string;
  state: 'open' | 'input-required' | 'completed' | 'failed' | 'cancelled';
  /** ISO 8601. */
  accepted_at: string;
  ended_at: string | null;
  /** Cursor of the first event of the turn. */
  accepted_seq: number;
  /** Cursor of the last event in this report. `read_events` after it continues the report. */
  seq: number;
  duration_ms: number | null;
  /** From the acceptance to the first text or call of a model. */
  first_token_ms: number | null;
  /** Text of the turn so far, also of one that did not complete. */
  text: string;
  finish: TurnFinish | null;
  /** Calls that the caller has to make. */
  tool_calls?: readonly ToolCall[];
  /** The reason why a team ignored the message, if it did. */
  ignored?: string;
  usage: Usage;
  cost: Cost;
  /** The model that answered, or was asked last. */
  model: string | null;
  error?: { code: string; message: string; retryable: boolean };
  /** Questions that wait for `answer_approval`, for a turn in `input-required`. */
  approvals?: ApprovalReport[];
  steps: StepReport[];
  /** True if arguments of questions, calls of steps or the end of the text are left out, because the report would not fit one envelope. */
  is_cut?: true;
}

/** Maximum bytes of a report as JSON, so that it fits one envelope. */
const MAX_REPORT_BYTES = 245_760;

/** A question to the people of a conversation. */
export interface ApprovalReport {
  /** Id for `answer_approval`. */
  call_id: string;
  kind: 'tool' | 'budget';
  /** Name of the tool, or `budget`. */
  name: string;
  args?: Readonly<Record<string, unknown>>;
  /** ISO 8601. */
  asked_at: string;
}

/** One model call and the calls of its reply. */
export interface StepReport {
  /** From 1. */
  step: number;
  model: string;
  /** `null` without a reply, here and below. */
  finish: string | null;
  usage: Usage | null;
  cost: Cost;
  /** SHA-256 of the messages of the request as JSON, in hex. */
  digest: string;
  /** `ok` is null for a call without a result. */
  calls: { id: string; name: string; ok: boolean | null }[];
}

/** Builds the report of a turn from all of its events. */
export function turnReport(conversationId: string, events: readonly JournalEvent[]): TurnReport {
  const first = events[0]!;
  const last = events.at(-1)!;
  const outcome = outcomeOf(last);
  const end = outcome ? endOf(outcome) : openEnd(events);
  return bounded({
    conversation_id: conversationId,
    turn_id: first.turnId!,
    accepted_at: isoTime(first.at),
    ended_at: outcome ? isoTime(last.at) : null,
    accepted_seq: first.cursor,
    seq: last.cursor,
    ...end,
    duration_ms: outcome ? (end.duration_ms ?? Math.max(0, last.at - first.at)) : null,
    steps: stepsOf(events),
  });
}

/** Parts of a report to leave out, in order. */
const CUTS: readonly ((report: TurnReport) => Partial<TurnReport>)[] = [
  ({ approvals }) => (approvals ? { approvals: approvals.map(({ args: _, ...rest }) => rest) } : {}),
  ({ steps }) => ({ steps: steps.map((step) => ({ ...step, calls: [] })) }),
  ({ text }) => ({ text: text.slice(0, CONVERSATION_LIMITS.maxTextEventChars) }),
];

function bounded(report: TurnReport): TurnReport {
  let shown = report;
  for (const cut of CUTS) {
    if (Buffer.byteLength(JSON.stringify(shown)) <= MAX_REPORT_BYTES) break;
    shown = { ...shown, ...cut(shown), is_cut: true };
  }
  return shown;
}

type End = Omit<
  TurnReport,
  'conversation_id' | 'turn_id' | 'accepted_at' | 'ended_at' | 'accepted_seq' | 'seq' | 'steps'
>;

function endOf(outcome: TurnOutcome): End {
  if (outcome.state === 'completed') return outcome;
  const { error, ...rest } = outcome;
  const { code, message, retryable } = error;
  return { ...rest, finish: null, error: { code, message, retryable } };
}

function openEnd(events: readonly JournalEvent[]): End {
  const { replies, firstTokenMs } = recordedTurn(events);
  const usage = noUsage();
  for (const reply of replies) if (reply.usage) addUsage(usage, reply.usage);
  const costs = replies.map(({ cost }) => cost);
  const approvals = approvalsOf(events);
  const asked = events.findLast(({ kind }) => kind === 'model_called');
  return {
    state: approvals.length > 0 ? 'input-required' : 'open',
    ...(approvals.length > 0 ? { approvals } : {}),
    duration_ms: null,
    first_token_ms: firstTokenMs ?? null,
    text: textSoFar(events),
    finish: null,
    usage,
    cost: costs.length > 0 ? costs.reduce(addCost) : 'unknown',
    model: asked ? bodyOf(asked, 'model_called').model : null,
  };
}

/** The questions of an open turn that wait for an answer. */
export function approvalsOf(events: readonly JournalEvent[]): ApprovalReport[] {
  const pending = new Set(new Approvals(events).pending.map(({ request }) => request.id));
  return events
    .filter(({ kind, body }) => kind === 'approval_requested' && pending.has(String(body.call_id)))
    .map((event) => {
      const { call_id, kind, name, args } = bodyOf(event, 'approval_requested');
      return { call_id, kind, name, ...(args ? { args } : {}), asked_at: isoTime(event.at) };
    });
}

/** The text of an open turn: that of whole replies, and the text since. */
export function textSoFar(events: readonly JournalEvent[]): string {
  const { text } = recordedTurn(events);
  const from = events.findLastIndex(({ kind }) => kind === 'turn_resumed' || kind === 'model_replied');
  const rest = events.slice(from + 1).map(({ kind, body }) => (kind === 'text' ? String(body.text) : ''));
  return text + rest.join('');
}

/** The model calls of a turn, from all of its events; those of a dropped record are left out. */
export function stepsOf(events: readonly JournalEvent[]): StepReport[] {
  const steps = new Map<number, StepReport>();
  const results = new Map<string, boolean>();
  for (const event of events) {
    switch (event.kind) {
      case 'turn_resumed': {
        const { from_step: from = Number.POSITIVE_INFINITY } = bodyOf(event, 'turn_resumed');
        for (const step of steps.keys()) if (step >= from) steps.delete(step);
        break;
      }
      case 'model_called': {
        const { step, model, digest } = bodyOf(event, 'model_called');
        steps.set(step, { step, model, finish: null, usage: null, cost: 'unknown', digest, calls: [] });
        break;
      }
      case 'model_replied':
        addReply(steps, bodyOf(event, 'model_replied'));
        break;
      case 'tool_finished': {
        const { call_id, ok } = bodyOf(event, 'tool_finished');
        results.set(call_id, ok);
      }
    }
  }
  for (const { calls } of steps.values()) for (const call of calls) call.ok = results.get(call.id) ?? null;
  return [...steps.values()];
}

function addReply(steps: ReadonlyMap<number, StepReport>, replied: Bodies['model_replied']): void {
  const step = steps.get(replied.step);
  if (!step) return;
  step.finish = replied.finish;
  step.usage = replied.usage;
  step.cost = replied.cost ?? 'unknown';
  step.calls = (replied.message.tool_calls ?? []).map(({ id, function: { name } }) => ({
    id,
    name,
    ok: null,
  }));
}
