import { describe, expect, it } from 'vitest';
import { exitCodeOf } from '../cli/exit-codes.ts';
import { explainError } from '../cli/explain-error.ts';
import { errorOfReply, rpcError } from '../protocol/rpc.ts';
import { AgentError, errorOfCode } from './agent-error.ts';
import { isFabricError } from './error.ts';

describe('AgentError', () => {
  it('is a FabricError with a code of its own, which may not be retried by default', () => {
    const cause = new Error('below');
    const error = new AgentError('OUT_OF_STOCK', 'No lamps are left', { cause, details: { left: 0 } });
    expect(isFabricError(error)).toBe(true);
    expect(error).toMatchObject({
      name: 'AgentError',
      code: 'OUT_OF_STOCK',
      message: 'No lamps are left',
      retryable: false,
      cause,
      details: { left: 0 },
    });
    expect(new AgentError('SHOP_CLOSED', 'Closed', { retryable: true }).retryable).toBe(true);
  });

  it.each(['', 'AB', 'lower', 'Out', '1ST', '_X', 'WITH SPACE', 'A-B', 'LINE\nBREAK', `A${'B'.repeat(64)}`])(
    'refuses the code %j',
    (code) => {
      expect(() => new AgentError(code, 'x')).toThrow(/3 to 64 capital letters/);
    },
  );

  it('refuses the codes of the table', () => {
    expect(() => new AgentError('NODE_GONE', 'x')).toThrow(
      new TypeError(
        '"NODE_GONE" is an error code of Fame Fabric, so an AgentError cannot have it. Choose another code.',
      ),
    );
  });

  it('travels in an error reply with code, message, details and retryable', () => {
    const sent = new AgentError('OUT_OF_STOCK', 'No lamps', { details: { left: 0 }, retryable: true });
    const reply = JSON.parse(JSON.stringify(rpcError('1', sent)));
    expect(reply.error).toEqual({
      code: -32000,
      message: 'No lamps',
      data: { code: 'OUT_OF_STOCK', retryable: true, details: { left: 0 } },
    });
    const received = errorOfReply(reply.error);
    expect(received).toBeInstanceOf(AgentError);
    const { code, message, details, retryable } = received;
    expect({ code, message, details, retryable }).toEqual({
      code: 'OUT_OF_STOCK',
      message: 'No lamps',
      details: { left: 0 },
      retryable: true,
    });
    const plain = JSON.parse(JSON.stringify(rpcError('1', new AgentError('SHOP_CLOSED', 'Closed'))));
    expect(errorOfReply(plain.error).details).toBeUndefined();
  });

  it.each([
    'x'.repeat(10_000),
    `A${'B'.repeat(64)}`,
    'BAD\u001b[31mCODE',
    'lower_case',
    '',
    7,
    null,
    ['OUT_OF_STOCK'],
    { toString: 'OUT_OF_STOCK' },
  ])('a code of another node that no AgentError can have becomes INTERNAL: %j', (code) => {
    expect(errorOfCode(code, 'text').code).toBe('INTERNAL');
    const error = errorOfReply({ code: -32000, message: 'text', data: { code } });
    expect(error.code).toBe('INTERNAL');
    expect(error).not.toBeInstanceOf(AgentError);
  });

  it('has a message of its own if the other node sent none, and details only if they are an object', () => {
    const hostile = { code: -32000, message: { a: 1 }, data: { code: 'OUT_OF_STOCK', details: 'text' } };
    const error = errorOfReply(hostile as never);
    expect(error).toMatchObject({ code: 'OUT_OF_STOCK', message: 'The agent failed with OUT_OF_STOCK.' });
    expect(error.details).toBeUndefined();
  });

  it('is printed with its message and code, escaped, and ends a command with 1', () => {
    const error = new AgentError('OUT_OF_STOCK', 'No \u001b[31mlamps');
    expect(explainError(error)).toBe('No ␛[31mlamps. (OUT_OF_STOCK)');
    expect(exitCodeOf(error)).toBe(1);
  });
});
