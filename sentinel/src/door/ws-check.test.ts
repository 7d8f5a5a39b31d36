// A release of `ws` that fails the check would be used through the slower plain sockets.
import { afterEach, expect, test, vi } from 'vitest';
import { WebSocketServer } from 'ws';
import { wsMismatch } from './ws-check.ts';

afterEach(() => vi.restoreAllMocks());

test('the installed ws passes the check', () => {
  expect(wsMismatch()).toBeUndefined();
});

test('an upgrade that is not synchronous is a mismatch', () => {
  vi.spyOn(WebSocketServer.prototype, 'handleUpgrade').mockImplementation(() => {});
  expect(wsMismatch()).toBe('the upgrade is not synchronous');
});

test('a ws without a data listener on the socket is a mismatch', () => {
  const upgrade = WebSocketServer.prototype.handleUpgrade;
  vi.spyOn(WebSocketServer.prototype, 'handleUpgrade').mockImplementation(function (
    this: WebSocketServer,
    ...[request, socket, head, callback]
  ) {
    upgrade.call(this, request, socket, head, (ws, opened) => {
      socket.removeAllListeners('data');
      callback(ws, opened);
    });
  });
  expect(wsMismatch()).toBe('the socket has 0 data listeners instead of one');
});

test('an error inside ws is reported as a mismatch', () => {
  vi.spyOn(WebSocketServer.prototype, 'handleUpgrade').mockImplementation(() => {
    throw new Error('no such thing');
  });
  expect(wsMismatch()).toBe('it failed: no such thing');
});

test('the check leaves no resource open', () => {
  const before = process.getActiveResourcesInfo().length;
  wsMismatch();
  expect(process.getActiveResourcesInfo()).toHaveLength(before);
});
