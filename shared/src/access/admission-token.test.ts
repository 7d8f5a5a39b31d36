import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { explainError } from '../cli/explain-error.ts';
import type { ErrorCode } from '../errors/codes.ts';
import { FabricError } from '../errors/error.ts';
import type { TokenSettings } from '../link/admission-url.ts';
import { AdmissionToken, findLocalKey } from './admission-token.ts';
import { ensureLocalKey, readTokenFile, rotateLocalKey } from './local-key-file.ts';

const LOCAL = 'ws://127.0.0.1:8000/fame/v1/attach/ws/downstream';
let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'fame-token-'));
});
afterEach(() => rmSync(root, { recursive: true }));

describe('an error of an attach', () => {
  const explain = (code: ErrorCode, text: string, set: Partial<TokenSettings> = {}) =>
    new AdmissionToken(LOCAL, settings({ token: 'a.b.c', ...set })).explain(
      new FabricError(code, text),
    ) as Error;

  test('keeps the message of the sentinel about a token, which names its fix', () => {
    const error = explain(
      'AUTH_INVALID',
      'The sentinel refused the attach: The token is for another audience. Fix it',
    );
    expect(error).toMatchObject({ code: 'AUTH_INVALID' });
    expect(error.message).toMatch(
      /refused the token from FAME_ADMISSION_TOKEN: The token is for another audience\. Fix it$/,
    );
  });

  test.each<[ErrorCode, string, RegExp]>([
    ['AUTH_INVALID', 'The token is for another audience. Fix it', /Fix it\. \(AUTH_INVALID\)$/],
    [
      'AUTH_INVALID',
      'The client certificate is not accepted',
      /refused the attach: The client certificate is/,
    ],
    ['AUTH_EXPIRED', 'The token has expired. Get another one', /Get another one\. \(AUTH_EXPIRED\)$/],
  ])('%s of "%s" is shown without advice about keys', (code, reason, expected) => {
    const text = explainError(explain(code, `The sentinel refused the attach: ${reason}`));
    expect(text).toMatch(expected);
    expect(text).not.toMatch(/key add|FAME_ADMISSION_TOKEN_FILE|FAME_ADMISSION_TOKEN_URL/);
  });

  test('is that of the issuer if it issued no token', () => {
    const issuer = {
      tokenUrl: 'https://issuer.example',
      clientId: 'x',
      clientSecret: 'y',
      clientSecretFile: undefined,
      scope: 's',
      audience: undefined,
    };
    const text = 'The token issuer at https://issuer.example refused this node: invalid_client';
    expect(explain('AUTH_INVALID', text, { token: undefined, issuer }).message).toBe(text);
    const away = 'Cannot get a token from https://issuer.example: ECONNREFUSED';
    expect(explain('AUTH_UNAVAILABLE', away, { token: undefined, issuer }).message).toBe(away);
  });
});

const settings = (set: Partial<TokenSettings> = {}): TokenSettings => ({
  token: undefined,
  tokenFile: undefined,
  dataDir: undefined,
  ...set,
});

describe('the token', () => {
  test('is that of the variable, else that of the file, else the local key of the data directory', () => {
    const { file } = ensureLocalKey(root);
    const tokenFile = join(root, 'other');
    writeFileSync(tokenFile, ' from-file\n');
    const read = (set: Partial<TokenSettings>) => {
      const token = new AdmissionToken(LOCAL, settings(set));
      return [token.read(), token.source];
    };
    expect(read({ token: 'from-variable', tokenFile, dataDir: root })).toEqual([
      'from-variable',
      'FAME_ADMISSION_TOKEN',
    ]);
    expect(read({ tokenFile, dataDir: root })).toEqual(['from-file', tokenFile]);
    expect(read({ dataDir: root })).toEqual([readTokenFile(file), file]);
    expect(read({ dataDir: join(root, 'none') })).toEqual([undefined, undefined]);
  });

  test('is read anew each time, so a rotated key is found', () => {
    ensureLocalKey(root);
    const token = new AdmissionToken(LOCAL, settings({ dataDir: root }));
    const before = token.read();
    rotateLocalKey(root);
    expect(token.read()).toMatch(/^fk_local_/);
    expect(token.read()).not.toBe(before);
  });

  test.each([
    'ws://10.0.0.1:8000/fame',
    'ws://fabric.example/fame',
    'wss://fabric.example/fame',
    'ws://127.0.0.1.evil.example/fame',
    'ws://localhost.evil.example/fame',
    'ws://user@evil.example/127.0.0.1',
  ])('that was only found is not sent to %s; one that was set is', (url) => {
    ensureLocalKey(root);
    expect(new AdmissionToken(url, settings({ dataDir: root })).read()).toBeUndefined();
    const tokenFile = ensureLocalKey(root).file;
    expect(new AdmissionToken(url, settings({ tokenFile })).read()).toMatch(/^fk_local_/);
    expect(new AdmissionToken(url, settings({ token: 'x' })).read()).toBe('x');
  });

  test.each([
    'ws://127.0.0.1:1/x',
    'ws://127.9.9.9:1/x',
    'ws://localhost:1/x',
    'ws://[::1]:1/x',
    'wss://LOCALHOST/x',
  ])('that was found is sent to %s', (url) => {
    ensureLocalKey(root);
    expect(new AdmissionToken(url, settings({ dataDir: root })).read()).toMatch(/^fk_local_/);
  });

  test('that was found and refused is left out once; one that was set is not', () => {
    ensureLocalKey(root);
    const dropped: string[] = [];
    const found = new AdmissionToken(LOCAL, settings({ dataDir: root }), (message) => dropped.push(message));
    // Another sentinel may answer at the next attempt.
    for (let attempt = 0; attempt < 2; attempt++) {
      expect(found.read()).toMatch(/^fk_local_/);
      expect(found.onRefused()).toBe(true);
      expect(found.read()).toBeUndefined();
    }
    expect(dropped).toEqual([
      `The key in ${join(root, 'token')} is not that of this sentinel; attaching without a key`,
    ]);
    expect(new AdmissionToken(LOCAL, settings({ token: 'x' })).onRefused()).toBe(false);
    expect(new AdmissionToken(LOCAL, settings({ tokenFile: join(root, 'token') })).onRefused()).toBe(false);
  });

  test('that was not found is not left out, when the sentinel refuses a client certificate', () => {
    const dropped: string[] = [];
    const none = new AdmissionToken(LOCAL, settings({ dataDir: root }), (message) => dropped.push(message));
    expect(none.onRefused()).toBe(false);
    expect(dropped).toEqual([]);
  });

  test('that was found and cannot be read is left out, with one message', () => {
    mkdirSync(join(root, 'token'));
    const dropped: string[] = [];
    const found = new AdmissionToken(LOCAL, settings({ dataDir: root }), (message) => dropped.push(message));
    expect([found.read(), found.read()]).toEqual([undefined, undefined]);
    expect(dropped).toEqual([
      `The key in ${join(root, 'token')} cannot be read (it is not a file); attaching without a key`,
    ]);
    expect(found.refusal('AUTH_MISSING').message).toContain('cannot be read (it is not a file)');
  });

  test('that is missing is explained by the place where it was looked for', () => {
    const found = new AdmissionToken(LOCAL, settings({ dataDir: root }));
    expect(found.read()).toBeUndefined();
    expect(found.refusal('AUTH_MISSING').message).toContain(`there is no file ${join(root, 'token')}`);
  });

  test.each<[string, (file: string) => void, string]>([
    ['is missing', () => {}, 'there is no such file'],
    ['is empty', (file) => writeFileSync(file, '\n'), 'it is empty'],
    ['is a directory', (file) => mkdirSync(file), 'it is not a file'],
    ['contains two words', (file) => writeFileSync(file, 'canary word'), 'it contains a blank'],
  ])('of a file that %s is a fault that names the variable, and repeats no content', (_, make, reason) => {
    const tokenFile = join(root, 'file');
    make(tokenFile);
    const read = () => new AdmissionToken(LOCAL, settings({ tokenFile })).read();
    expect(read).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
    expect(read).toThrow(`FAME_ADMISSION_TOKEN_FILE is "${tokenFile}", which cannot be used: ${reason}`);
    expect(read).not.toThrow('canary');
  });

  test('in place of a file name is not repeated', () => {
    const tokenFile = `fk_local_${'canary'.repeat(7)}`;
    const read = () => new AdmissionToken(LOCAL, settings({ tokenFile })).read();
    expect(read).toThrow('FAME_ADMISSION_TOKEN_FILE');
    expect(read).not.toThrow('canary');
  });
});

describe('findLocalKey', () => {
  test('finds the nearest .fame with a key, upwards', () => {
    const below = join(root, 'a', 'b');
    mkdirSync(join(below, '.fame'), { recursive: true });
    expect(findLocalKey(undefined, below)).toBeUndefined();
    const { file: outer } = ensureLocalKey(join(root, '.fame'));
    expect(findLocalKey(undefined, below)).toBe(outer);
    const { file: inner } = ensureLocalKey(join(root, 'a', '.fame'));
    expect(findLocalKey(undefined, below)).toBe(inner);
  });

  test('looks in the data directory alone if one is set', () => {
    ensureLocalKey(join(root, '.fame'));
    expect(findLocalKey(join(root, 'other'), root)).toBeUndefined();
  });

  test('finds none in a path that is not a directory', () => {
    writeFileSync(join(root, 'file'), '');
    expect(findLocalKey(join(root, 'file', 'data'))).toBeUndefined();
  });
});
