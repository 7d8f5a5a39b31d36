// Owners: every operation on a conversation, for each relation of the caller to it. A conversation of another principal has the same
// answer as one that does not exist, and is not changed. The cases are generated.
import { isFabricError, newId } from '@fame-fabric/shared';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type AgentKind, type CallMore, type StoreKind, Subject } from './subject.conformance.ts';

/** Relations of a caller to a conversation of `ada`. */
const RELATIONS: readonly { name: string; principal: string; share?: string[]; reaches: boolean }[] = [
  { name: 'the owner', principal: 'ada', reaches: true },
  { name: 'a principal in the share', principal: 'jwt:issuer/bob', share: ['jwt:issuer/bob'], reaches: true },
  { name: 'a principal, with a share for all', principal: 'carol', share: ['*'], reaches: true },
  {
    name: 'a caller without a credential, with a share for all',
    principal: 'anonymous',
    share: ['*'],
    reaches: true,
  },
  { name: 'a principal with the right to all', principal: 'local', reaches: true },
  { name: 'another principal', principal: 'eve', reaches: false },
  {
    name: 'another principal, with a share for others',
    principal: 'eve',
    share: ['bob', 'Eve', 'ada'],
    reaches: false,
  },
  { name: 'a caller without a credential', principal: 'anonymous', reaches: false },
];

interface Target {
  id: string;
  turn: string;
}

/** Operations with the conversation that they name. Each resolves with the answer, or the first item of a stream. */
const OPERATIONS: Readonly<
  Record<string, (subject: Subject, target: Target, more: CallMore) => Promise<unknown>>
> = {
  run_turn: (subject, { id }, more) =>
    subject.call('run_turn', { conversation_id: id, user_message: 'Hi' }, more),
  'run_turn, the same turn again': (subject, { id, turn }, more) =>
    subject.call('run_turn', { conversation_id: id, user_message: 'one', turn_id: turn }, more),
  run_turn_stream: (subject, { id }, more) =>
    firstItem(subject, 'run_turn_stream', { conversation_id: id, user_message: 'Hi' }, more),
  cancel_turn: (subject, { id }, more) => subject.call('cancel_turn', { conversation_id: id }, more),
  answer_approval: (subject, { id }, more) =>
    subject.call('answer_approval', { conversation_id: id, call_id: 'x', approve: true }, more),
  end_conversation: (subject, { id }, more) =>
    subject.call('end_conversation', { conversation_id: id }, more),
  get_history: (subject, { id }, more) => subject.call('get_history', { conversation_id: id }, more),
  get_prompt: (subject, { id, turn }, more) =>
    subject.call('get_prompt', { conversation_id: id, turn_id: turn, step: 1 }, more),
  get_turn: (subject, { id, turn }, more) =>
    subject.call('get_turn', { conversation_id: id, turn_id: turn }, more),
  read_events: (subject, { id }, more) => subject.call('read_events', { conversation_id: id }, more),
  'read_events, followed': (subject, { id }, more) =>
    firstItem(subject, 'read_events', { conversation_id: id, follow: true }, more),
  fork: (subject, { id, turn }, more) =>
    subject.call('fork', { conversation_id: id, at: turn, id: newId() }, more),
  'tasks/get': (subject, { id }, more) => subject.call('tasks/get', { id }, more),
  'tasks/cancel': (subject, { id }, more) => subject.call('tasks/cancel', { id }, more),
  'tasks/resubscribe': (subject, { id }, more) => firstItem(subject, 'tasks/resubscribe', { id }, more),
};

async function firstItem(subject: Subject, method: string, params: object, more: CallMore): Promise<unknown> {
  const following = subject.stream(method, params, more);
  const item = await following.until({});
  following.leave();
  return item;
}

type Answer = { value: unknown } | { code: string; message: string; details: unknown; retryable: boolean };

/** The answer of a call, as its caller sees it. */
async function answerOf(calling: Promise<unknown>): Promise<Answer> {
  try {
    return { value: await calling };
  } catch (error) {
    if (!isFabricError(error)) throw error;
    const { code, message, details, retryable } = error;
    return { code, message, details, retryable };
  }
}

const isUnknown = (answer: Answer): boolean =>
  'code' in answer && ['CONVERSATION_UNKNOWN', 'TASK_UNKNOWN'].includes(answer.code);

export function ownersConformance(kind: AgentKind, store: StoreKind): void {
  describe('owners', () => {
    let subject: Subject;
    let cases = 0;
    beforeAll(async () => {
      subject = await Subject.open(kind, store);
    });
    afterAll(async () => {
      console.info(`owners: ${cases} cases at ${kind.name}, ${store.name}`);
      await subject.close();
      store.remove();
    });
    const ada = { principal: 'ada' };
    const begin = async (share?: string[]): Promise<Target> => {
      const id = await subject.begin(share ? { share } : {}, ada);
      return { id, turn: await subject.turn(id, 'one', 'First', {}, ada) };
    };
    const eventsOf = async (id: string) => subject.call('read_events', { conversation_id: id }, ada);

    describe.each(RELATIONS)('$name', ({ principal, share, reaches }) => {
      test.each(Object.keys(OPERATIONS))('%s', async (name) => {
        cases += 1;
        const run = OPERATIONS[name]!;
        const target = await begin(share);
        const before = await eventsOf(target.id);
        subject.says('Second');
        const answer = await answerOf(run(subject, target, { principal }));
        const unknown = await answerOf(run(subject, { id: newId(), turn: target.turn }, { principal }));
        if (reaches) {
          expect(isUnknown(answer)).toBe(false);
          if (name === 'answer_approval') {
            const isRefused = principal === 'anonymous';
            expect(answer).toMatchObject({ code: isRefused ? 'AUTH_FORBIDDEN' : 'APPROVAL_UNKNOWN' });
          }
        } else {
          expect(answer).toEqual(unknown);
          expect(isUnknown(answer) || name === 'end_conversation').toBe(true);
          expect(await eventsOf(target.id)).toEqual(before);
        }
      });
    });

    test('two owners use the same id, also after a restart, and each lists its own', async () => {
      const id = newId();
      const owners = ['ada', 'eve', 'anonymous', 'local'];
      for (const principal of owners) {
        cases += 1;
        expect(await subject.begin({ id }, { principal })).toBe(id);
        await subject.turn(id, `from ${principal}`, 'Yes', {}, { principal });
      }
      for (const isAgain of [false, true]) {
        if (isAgain) await subject.restart();
        for (const principal of owners) {
          const history = JSON.stringify(
            await subject.call('get_history', { conversation_id: id }, { principal }),
          );
          for (const other of owners) expect(history.includes(`from ${other}`)).toBe(other === principal);
        }
      }
      const list = async (principal: string) => {
        const page = await subject.call<{ conversations: { id: string; owner: string }[] }>(
          'list_conversations',
          { limit: 200 },
          { principal },
        );
        return page.conversations;
      };
      for (const principal of ['ada', 'eve']) {
        const listed = await list(principal);
        expect(new Set(listed.map(({ owner }) => owner))).toEqual(new Set([principal]));
        expect(listed.filter((one) => one.id === id)).toHaveLength(1);
      }
      const all = (await list('local')).filter((one) => one.id === id);
      expect(all.map(({ owner }) => owner).sort()).toEqual([...owners].sort());
    });

    test('a caller that may use several conversations with one id names the owner', async () => {
      const id = newId();
      for (const principal of ['ada', 'eve']) {
        await subject.begin({ id, share: ['bob'] }, { principal });
        await subject.turn(id, `from ${principal}`, 'Yes', {}, { principal });
      }
      const history = async (principal: string, owner: string) =>
        JSON.stringify(await subject.call('get_history', { conversation_id: id, owner }, { principal }));
      for (const owner of ['ada', 'eve'])
        for (const principal of ['bob', 'local']) {
          cases += 1;
          expect(await history(principal, owner)).toContain(`from ${owner}`);
        }
      await expect(history('bob', 'unknown')).rejects.toMatchObject({ code: 'CONVERSATION_UNKNOWN' });
      await expect(history('ada', 'eve')).rejects.toMatchObject({ code: 'CONVERSATION_UNKNOWN' });
    });

    test('a fork belongs to the caller that forks, without the share', async () => {
      const { id, turn } = await begin(['bob', 'carol']);
      const more = { principal: 'bob' };
      const fork = await subject.call<{ id: string }>('fork', { conversation_id: id, at: turn }, more);
      const read = (principal: string) =>
        subject.call('get_history', { conversation_id: fork.id }, { principal });
      expect(JSON.stringify(await read('bob'))).toContain('one');
      for (const principal of ['ada', 'carol'])
        await expect(read(principal)).rejects.toMatchObject({ code: 'CONVERSATION_UNKNOWN' });
    });

    test.each([
      ['no list', 'bob'],
      ['an empty name', ['']],
      ['a number', [7]],
      ['a name that is too long', ['x'.repeat(513)]],
      ['too many names', Array.from({ length: 65 }, (_, i) => `p${i}`)],
      ['* beside a name', ['*', 'bob']],
    ])('a share that is %s is refused by name', async (_, share) => {
      await expect(subject.begin({ share } as never, ada)).rejects.toMatchObject({
        code: 'PARAMS_INVALID',
        message: expect.stringContaining('share'),
      });
    });
  });
}
