// Every operation with every parameter set to hostile values: each call works, or is refused with PARAMS_INVALID naming the
// parameter. No call changes the conversation, and the agent continues to work.
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { badValues, deep, type Field, ODD_TEXTS } from './hostile-values.conformance.ts';
import { type AgentKind, type StoreKind, Subject } from './subject.conformance.ts';

const ID: Field = { kind: 'id', max: 256 };
const CONVERSATION = { conversation_id: ID };
const TURN_PARAMS: Record<string, Field> = {
  ...CONVERSATION,
  user_message: { kind: 'text', max: 65_536 },
  turn_id: ID,
  options: { kind: 'object' },
  tool_results: { kind: 'list' },
  retry_key: { kind: 'id', max: 128 },
  retry_count: { kind: 'int', min: 0, max: 1_000_000 },
};

/** The parameters of each operation. */
const OPERATIONS: Record<string, Record<string, Field>> = {
  start_task: {
    id: ID,
    system_prompt: { kind: 'text', max: 65_536 },
    max_history_length: { kind: 'int', min: 0, max: 200 },
    turn_policy: { kind: 'enum' },
    on_budget: { kind: 'enum' },
    messages: { kind: 'list' },
    payload: { kind: 'object' },
    ephemeral: { kind: 'boolean' },
  },
  run_turn: { ...TURN_PARAMS, answer: { kind: 'enum' } },
  run_turn_stream: { ...TURN_PARAMS, after: { kind: 'int', min: 0 } },
  cancel_turn: { ...CONVERSATION, turn_id: ID },
  answer_approval: {
    ...CONVERSATION,
    call_id: ID,
    approve: { kind: 'boolean' },
    note: { kind: 'text', max: 2_000 },
  },
  end_conversation: CONVERSATION,
  get_history: CONVERSATION,
  fork: { ...CONVERSATION, at: ID, id: ID, model: { kind: 'id', max: 256 } },
  read_events: {
    ...CONVERSATION,
    after: { kind: 'int', min: 0 },
    limit: { kind: 'int', min: 1, max: 500 },
    follow: { kind: 'boolean' },
  },
  get_turn: { ...CONVERSATION, turn_id: ID },
  get_prompt: { ...CONVERSATION, turn_id: ID, step: { kind: 'int', min: 1 } },
};

const without = (params: Record<string, unknown>, name: string): Record<string, unknown> =>
  Object.fromEntries(Object.entries(params).filter(([key]) => key !== name));

export function hostileConformance(kind: AgentKind, store: StoreKind): void {
  describe('hostile input', () => {
    let subject: Subject;
    let id: string;
    let turnId: string;
    beforeEach(async () => {
      subject = await Subject.open(kind, store);
      id = await subject.begin();
      turnId = await subject.turn(id, 'Hi', 'Hello');
    });
    afterEach(async () => {
      await subject.close();
      store.remove();
    });
    const valid = (): Record<string, unknown> => ({
      conversation_id: id,
      turn_id: turnId,
      at: turnId,
      call_id: 'call',
      approve: true,
      step: 1,
    });
    const known = (method: string): Record<string, unknown> =>
      Object.fromEntries(Object.entries(valid()).filter(([name]) => OPERATIONS[method]![name]));

    /** Expects the call to be refused with PARAMS_INVALID and a short message. */
    async function expectRefused(method: string, params: unknown, name = ''): Promise<void> {
      const shown = `${method} ${name} ${JSON.stringify(params).slice(0, 200)}`;
      const error = await subject.call(method, params).then(
        () => undefined,
        (reason: Error & { code: string }) => reason,
      );
      expect(error?.code, shown).toBe('PARAMS_INVALID');
      expect(error!.message, shown).toContain(name);
      expect(error!.message.length, shown).toBeLessThan(2_000);
    }

    test('values of the wrong kind, size or range are refused by name, and change nothing', async () => {
      const before = await subject.call('get_history', { conversation_id: id });
      for (const [method, fields] of Object.entries(OPERATIONS)) {
        for (const [name, field] of Object.entries(fields)) {
          for (const value of badValues(field)) {
            await expectRefused(method, { [name]: value, ...without(known(method), name) }, name);
          }
        }
      }
      expect(await subject.call('get_history', { conversation_id: id })).toEqual(before);
      expect(subject.model.count).toBe(1);
      await subject.turn(id, 'More', 'Fine');
    });

    test('parameters that are not an object, and unknown ones, are refused', async () => {
      for (const method of Object.keys(OPERATIONS)) {
        for (const params of [7, 'x', true, [[]], { args: 'x' }, { args: [deep()] }]) {
          await expectRefused(method, params);
        }
        for (const name of ['surprise', 'constructor', 'toString']) {
          await expectRefused(method, { ...known(method), [name]: deep() }, name);
        }
      }
    });

    test('odd texts in ids and messages are kept apart, and come back unchanged', async () => {
      const ids = ODD_TEXTS.map((text) => `c${text}`);
      for (const odd of ids) {
        await subject.call('start_task', { id: odd });
        await subject.turn(odd, odd, 'Fine', { turn_id: odd });
      }
      for (const restart of [false, true]) {
        if (restart) await subject.restart();
        for (const odd of ids) {
          const messages = await subject.call<{ content: string }[]>('get_history', { conversation_id: odd });
          expect(messages[0]!.content, JSON.stringify(odd)).toBe(odd);
          expect(messages).toHaveLength(2);
        }
      }
    });

    test('lone surrogates are refused in ids, and come back unchanged in messages', async () => {
      for (const lone of ['\ud800', 'a\udfff']) {
        for (const [method, fields] of Object.entries(OPERATIONS)) {
          for (const name of Object.keys(fields).filter((field) => fields[field] === ID)) {
            const refused = subject.call(method, { ...known(method), [name]: lone });
            await expect(refused, `${method} ${name}`).rejects.toMatchObject({ code: 'PARAMS_INVALID' });
          }
        }
        await subject.turn(id, lone, 'Fine');
      }
      await subject.restart();
      const messages = await subject.call<{ role: string; content: string }[]>('get_history', {
        conversation_id: id,
      });
      expect(messages.filter(({ role }) => role === 'user').map(({ content }) => content)).toEqual([
        'Hi',
        '\ud800',
        'a\udfff',
      ]);
    });
  });
}
