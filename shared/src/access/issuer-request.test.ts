// Requests to issuers: bounds, redirects and URLs. The answers come from a replaced `fetch`.
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { isIssuerUrl, requestIssuer } from './issuer-request.ts';

const URL_OF_KEYS = 'https://issuer.example/keys?secret=1';
const fetched = vi.fn<typeof fetch>();
beforeEach(() => vi.stubGlobal('fetch', fetched));
afterEach(() => fetched.mockReset());

test('requests JSON, by POST with a form', async () => {
  fetched.mockImplementation(async () => Response.json({ ok: 1 }, { status: 401 }));
  expect(await requestIssuer(URL_OF_KEYS)).toEqual({ status: 401, body: { ok: 1 } });
  await requestIssuer(URL_OF_KEYS, { a: 'b c' });
  expect(fetched.mock.calls.map(([url, init]) => [url, init?.method, String(init?.body)])).toEqual([
    [URL_OF_KEYS, 'GET', 'null'],
    [URL_OF_KEYS, 'POST', 'a=b+c'],
  ]);
  expect(fetched.mock.calls.every(([, init]) => init?.redirect === 'manual')).toBe(true);
});

test.each<[string, () => Response, RegExp]>([
  [
    'a redirect',
    () => new Response(null, { status: 302, headers: { location: 'http://169.254.169.254/' } }),
    /redirect/,
  ],
  ['no JSON', () => new Response('<html>'), /answered HTTP 200 without JSON/],
  ['a large answer', () => new Response(`"${'x'.repeat(300_000)}"`), /more than 262144 characters/],
])('refuses %s', async (_what, answer, message) => {
  fetched.mockImplementation(async () => answer());
  const error = await requestIssuer(URL_OF_KEYS).catch((one: unknown) => one);
  expect(error).toMatchObject({ code: 'LINK_REFUSED', message: expect.stringMatching(message) });
  expect((error as Error).message).not.toContain('secret');
  expect(fetched).toHaveBeenCalledOnce();
});

test('an endless answer is cut off', async () => {
  let sent = 0;
  const endless = () =>
    new ReadableStream<Uint8Array>({
      pull(controller) {
        sent += 65_536;
        controller.enqueue(new Uint8Array(65_536).fill(120));
      },
    });
  fetched.mockImplementation(async () => new Response(endless()));
  await expect(requestIssuer(URL_OF_KEYS)).rejects.toMatchObject({ code: 'LINK_REFUSED' });
  expect(sent).toBeLessThan(1_000_000);
});

test('states why an issuer cannot be reached', async () => {
  const cause = Object.assign(new Error('connect'), { code: 'ECONNREFUSED' });
  fetched.mockRejectedValue(new TypeError('fetch failed', { cause }));
  await expect(requestIssuer(URL_OF_KEYS)).rejects.toMatchObject({
    code: 'LINK_TIMEOUT',
    message: 'Cannot reach https://issuer.example/keys: ECONNREFUSED',
  });
  fetched.mockRejectedValue(new DOMException('aborted', 'TimeoutError'));
  await expect(requestIssuer(URL_OF_KEYS)).rejects.toThrow('no answer within 3 s');
  fetched.mockRejectedValue(
    new TypeError('x', { cause: Object.assign(new Error(), { code: 'CERT_HAS_EXPIRED' }) }),
  );
  await expect(requestIssuer(URL_OF_KEYS)).rejects.toMatchObject({ code: 'LINK_REFUSED' });
});

test.each<[string, boolean, boolean]>([
  ['https://a.example/keys', false, true],
  ['http://127.0.0.1:8099/keys', false, true],
  ['http://[::1]:8099', false, true],
  ['http://localhost', false, true],
  ['http://a.example', false, false],
  ['http://a.example', true, true],
  ['http://127.0.0.1.evil.example', false, false],
  ['https://user@a.example', true, false],
  ['ftp://127.0.0.1', true, false],
  ['file:///etc/passwd', true, false],
  ['a.example', true, false],
])('%s (http allowed: %s) may be used: %s', (url, allowsHttp, isAllowed) => {
  expect(isIssuerUrl(url, allowsHttp)).toBe(isAllowed);
});
