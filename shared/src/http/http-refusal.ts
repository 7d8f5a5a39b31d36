// Refusals over HTTP: one JSON shape, `{ error: { code, message } }`, also on a bare socket without a request to answer.
import type { Duplex } from 'node:stream';
import type { ErrorCode } from '../errors/codes.ts';
import { http } from './node-http.ts';

export const refusalBody = (code: ErrorCode, message: string) => ({ error: { code, message } });

/** Returns the bytes of an answer, after which the connection is closed. */
export function refusalBytes(
  status: number,
  code: ErrorCode,
  message: string,
  retryAfterMs?: number,
): Buffer {
  const body = JSON.stringify(refusalBody(code, message));
  return Buffer.from(
    `HTTP/1.1 ${status} ${http.STATUS_CODES[status]}\r\nConnection: close\r\nContent-Type: application/json; charset=utf-8\r\n` +
      (retryAfterMs === undefined ? '' : `Retry-After: ${Math.ceil(retryAfterMs / 1_000)}\r\n`) +
      `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}

/** Answers on the socket and closes it. */
export function refuseOn(socket: Duplex, status: number, code: ErrorCode, message: string): void {
  closeWith(socket, refusalBytes(status, code, message));
}

/** Sends the bytes of an answer and closes the socket. */
export function closeWith(socket: Duplex, answer: Buffer): void {
  // The socket is closing anyway.
  socket.on('error', () => {});
  // The other side may keep its half of the connection open.
  socket.once('finish', () => socket.destroy());
  socket.end(answer);
}

/** Refuses bytes that are not an HTTP request, and requests that arrive too slowly. */
export function refuseMalformed(error: NodeJS.ErrnoException, socket: Duplex): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT')
    refuseOn(socket, 408, 'PROTO_MALFORMED', 'The request did not arrive in time');
  else if (error.code === 'HPE_HEADER_OVERFLOW')
    refuseOn(socket, 431, 'MESSAGE_TOO_LARGE', 'The headers of the request are larger than 16 KiB');
  else refuseOn(socket, 400, 'PROTO_MALFORMED', 'This is not an HTTP request');
}
