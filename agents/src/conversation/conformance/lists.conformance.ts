// list_conversations: order, filters, search, pages, and who may read it. Ephemeral conversations are left out.
import { FabricError, newId } from '@fame-fabric/shared';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { failing } from '../../testing/script.ts';
import { type AgentKind, type StoreKind, Subject } from './subject.conformance.ts';

interface Page {
  conversations: Record<string, unknown>[];
  next: string | null;
}

export function listsConformance(kind: AgentKind, store: StoreKind): void {
  describe('lists', () => {
    const local = { principal: 'local' };
    let subject: Subject;
    let turned: string;
    let failed: string;
    let ended: string;
    let fork: string;
    let fresh: string;
    beforeAll(async () => {
      subject = await Subject.open(kind, store);
      turned = await subject.begin({ id: `turned-${newId()}` }, local);
      const turn = await subject.turn(turned, 'Where is the Zebra?', 'In the zoo', {}, local);
      failed = await subject.begin();
      subject.model.push(failing(new FabricError('MODEL_AUTH', 'Wrong key')));
      await subject.call('run_turn', { conversation_id: failed, user_message: 'x' }).catch(() => {});
      ended = await subject.begin();
      await subject.call('end_conversation', { conversation_id: ended });
      fork = newId();
      await subject.call('fork', { conversation_id: turned, at: turn, id: fork }, local);
      fresh = await subject.begin();
      await subject.begin({ ephemeral: true });
    });
    afterAll(async () => {
      await subject.close();
      store.remove();
    });
    const list = (params: Record<string, unknown> = {}) =>
      subject.call<Page>('list_conversations', params, local);
    const ids = async (params: Record<string, unknown> = {}): Promise<unknown[]> => {
      const all: unknown[] = [];
      for (let before: string | null | undefined; before !== null; ) {
        const page: Page = await list({ ...params, ...(before ? { before } : {}) });
        expect(page.conversations.length).toBeLessThanOrEqual((params.limit as number) ?? 50);
        all.push(...page.conversations.map(({ id }) => id));
        before = page.next;
      }
      return all;
    };

    test('has every conversation but ephemeral ones, with the figures of each', async () => {
      const { conversations } = await list();
      expect(new Set(conversations.map(({ id }) => id))).toEqual(
        new Set([turned, failed, ended, fork, fresh]),
      );
      const entry = (id: string) => conversations.find((one) => one.id === id);
      expect(entry(turned)).toEqual({
        id: turned,
        state: kind.restState,
        owner: 'local',
        turns: 1,
        created_at: expect.stringMatching(/^\d{4}-.*Z$/),
        changed_at: expect.stringMatching(/^\d{4}-.*Z$/),
        usage: { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 },
        cost: 'unknown',
        last_outcome: 'completed',
      });
      expect(entry(failed)).toMatchObject({ last_outcome: 'failed', owner: 'anonymous', turns: 1 });
      expect(entry(ended)).toMatchObject({ state: 'completed', last_outcome: null, turns: 0 });
      expect(entry(fork)).toMatchObject({
        forked_from: { conversation_id: turned, turn_id: expect.any(String) },
      });
      const changes = conversations.map(({ changed_at }) => changed_at as string);
      expect(changes).toEqual([...changes].sort().reverse());
    });

    test('filters and searches compose, and pages cover everything once', async () => {
      expect(await ids({ failed: true })).toEqual([failed]);
      expect(await ids({ state: 'completed' })).toEqual([ended]);
      expect(await ids({ state: 'canceled' })).toEqual([]);
      expect(await ids({ search: 'zEBRA' })).toContain(turned);
      expect(await ids({ search: 'zebra', state: 'completed' })).toEqual([]);
      expect(await ids({ search: turned.toUpperCase() })).toEqual([turned]);
      for (const odd of ['%', '_ebra', '*', '\\', '\'"', '\u0000'])
        expect(await ids({ search: odd })).toEqual([]);
      const all = await ids();
      for (const limit of [1, 2, 200]) expect(await ids({ limit })).toEqual(all);
    });

    test('a caller without a credential receives none, because it shares its principal with others', async () => {
      await expect(subject.call('list_conversations', {})).rejects.toMatchObject({
        code: 'AUTH_FORBIDDEN',
        message: expect.stringContaining('local key'),
      });
    });

    test('the pages and cursors of a principal have its own conversations only', async () => {
      const more = { principal: 'ada' };
      const own = [];
      for (let i = 0; i < 3; i++) {
        own.unshift(await subject.begin({}, more));
        await subject.begin();
      }
      const found: unknown[] = [];
      for (let before: string | null | undefined; before !== null; ) {
        const page: Page = await subject.call('list_conversations', { limit: 1, before }, more);
        found.push(...page.conversations.map(({ id }) => id));
        before = page.next;
        if (before) expect(own).toContain(JSON.parse(atob(before))[1]);
      }
      expect(found.sort()).toEqual(own.sort());
    });

    test('values out of bounds are refused by name', async () => {
      for (const [name, values] of Object.entries({
        limit: [0, -1, 201, 1.5, '1', 1e308],
        search: ['x'.repeat(201), 7, [], {}],
        state: ['open', '', 7],
        failed: ['yes', 1],
        before: ['', 'x', '\ud800', 'x'.repeat(100_000), 7, btoa('[1]'), btoa('{}'), btoa('[-1,"x"]')],
      })) {
        for (const value of values) {
          await expect(
            list({ [name]: value }),
            `${name} ${String(value).slice(0, 40)}`,
          ).rejects.toMatchObject({
            code: 'PARAMS_INVALID',
            message: expect.stringContaining(name),
          });
        }
      }
    });

    test('an ephemeral conversation can be read by its id', async () => {
      const id = await subject.begin({ ephemeral: true });
      const turn = await subject.turn(id, 'Hi', 'Hello');
      expect(await subject.call('get_turn', { conversation_id: id, turn_id: turn })).toMatchObject({
        state: 'completed',
      });
      expect(await ids()).not.toContain(id);
    });
  });
}
