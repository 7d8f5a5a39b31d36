// Turns through the MCP door: progress, cancellation and approvals, with the client library of the protocol in both eras.
import { ToolSet, tool } from '@fame-fabric/agents';
import { callTools, gate } from '@fame-fabric/agents/testing';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { type DoorKit, doorKit } from '../testing.ts';
import { mcpDoor } from './mcp-door.ts';
import { ERAS, mcpClient } from './testing/mcp-client.ts';

const textOf = (result: { content: unknown }): string => (result.content as { text: string }[])[0]!.text;

/** The report of the only turn of the only conversation. */
async function turnOf({ client }: DoorKit) {
  const conversations = client.conversations('chat@fame.fabric');
  const { id } = (await conversations.list()).conversations[0]!;
  const { events } = await conversations.readEvents(id);
  const turn = events.find(({ type }) => type === 'turn') as { turn_id: string };
  return conversations.turn(id, turn.turn_id);
}

/** A chat agent with a tool that needs an approval. */
function payer() {
  const paid: number[] = [];
  const pay = tool({
    name: 'pay',
    description: 'Pays.',
    parameters: z.object({ usd: z.number() }),
    approval: 'always',
    execute({ usd }) {
      paid.push(usd);
      return `paid ${usd}`;
    },
  });
  const replies = [callTools([{ name: 'pay', arguments: { usd: 7 } }]), 'Done'];
  return { paid, replies, chat: { tools: new ToolSet([pay]) } };
}

const message = { name: 'ask_agent', arguments: { message: 'Pay 7' } };

describe.each(ERAS)('%s', (era) => {
  test('a turn reports the pieces of its reply', async () => {
    const pause = gate();
    await using kit = await doorKit(mcpDoor, { replies: [['One ', pause, 'two']] });
    await using mcp = await mcpClient(kit, { era });
    await mcp.client.connect(mcp.transport);
    const seen: { progress: number; message?: string | undefined }[] = [];
    const result = await mcp.client.callTool(
      { name: 'chat_run_turn', arguments: { user_message: 'Count' } },
      {
        onprogress(progress) {
          seen.push(progress);
          pause.open();
        },
      },
    );
    expect(seen[0]).toMatchObject({ progress: 0, message: 'One ' });
    expect(textOf(result)).toBe('One two');
  });

  test('a client that cancels its call cancels the turn', async () => {
    const pause = gate();
    await using kit = await doorKit(mcpDoor, { replies: [['One', pause]] });
    await using mcp = await mcpClient(kit, { era });
    await mcp.client.connect(mcp.transport);
    const stop = new AbortController();
    const started = Promise.withResolvers<unknown>();
    const call = mcp.client.callTool(message, { signal: stop.signal, onprogress: started.resolve });
    await started.promise;
    stop.abort();
    await expect(call).rejects.toThrow();
    await expect.poll(async () => (await turnOf(kit)).state).toBe('cancelled');
  });

  test('a connection that breaks cancels the turn since 2026-07-28, and not before', async () => {
    const pause = gate();
    await using kit = await doorKit(mcpDoor, { replies: [['One', pause, ' two']] });
    await using mcp = await mcpClient(kit, { era });
    await mcp.client.connect(mcp.transport);
    const started = Promise.withResolvers<unknown>();
    mcp.client.callTool(message, { onprogress: started.resolve }).catch(() => {});
    await started.promise;
    mcp.breakConnections();
    const isModern = era === '2026-07-28';
    if (isModern) await expect.poll(async () => (await turnOf(kit)).state).toBe('cancelled');
    pause.open();
    await expect.poll(async () => (await turnOf(kit)).state).toBe(isModern ? 'cancelled' : 'completed');
  });

  test('a person approves with a form', async () => {
    const { paid, ...chat } = payer();
    await using kit = await doorKit(mcpDoor, chat);
    await using mcp = await mcpClient(kit, { era, as: 'ada', capabilities: { elicitation: { form: {} } } });
    const asked: string[] = [];
    mcp.client.setRequestHandler('elicitation/create', ({ params }) => {
      asked.push(params.message);
      return { action: 'accept', content: { approve: true } };
    });
    await mcp.client.connect(mcp.transport);
    const result = await mcp.client.callTool(message);
    expect(asked).toEqual(['The agent wants to call pay with {"usd":7}. Approve?']);
    expect(textOf(result)).toBe('Done');
    expect(paid).toEqual([7]);
  });

  test('a person who declines refuses the call', async () => {
    const { paid, ...chat } = payer();
    await using kit = await doorKit(mcpDoor, chat);
    await using mcp = await mcpClient(kit, { era, as: 'ada', capabilities: { elicitation: { form: {} } } });
    mcp.client.setRequestHandler('elicitation/create', () => ({ action: 'decline' }));
    await mcp.client.connect(mcp.transport);
    expect(textOf(await mcp.client.callTool(message))).toBe('Done');
    expect(paid).toEqual([]);
  });

  test('a client without forms answers with a tool, and joins the turn', async () => {
    const { paid, ...chat } = payer();
    await using kit = await doorKit(mcpDoor, chat);
    await using mcp = await mcpClient(kit, { era, as: 'ada' });
    await mcp.client.connect(mcp.transport);
    const waiting = await mcp.client.callTool(message);
    expect(textOf(waiting)).toContain('Answer with the tool chat_answer_approval.');
    const { conversation_id, turn_id, approvals } = waiting.structuredContent as {
      conversation_id: string;
      turn_id: string;
      approvals: { call_id: string }[];
    };
    await mcp.client.callTool({
      name: 'chat_answer_approval',
      arguments: { conversation_id, call_id: approvals[0]!.call_id, approve: true },
    });
    const result = await mcp.client.callTool({
      name: 'ask_agent',
      arguments: { message: 'Pay 7', conversation_id, turn_id },
    });
    expect(textOf(result)).toBe('Done');
    expect(paid).toEqual([7]);
  });
});
