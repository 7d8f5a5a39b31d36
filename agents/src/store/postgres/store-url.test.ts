import { CaptureLog } from '@fame-fabric/shared/testing';
import { describe, expect, test } from 'vitest';
import { openDatabaseStore } from '../open-store.ts';
import { parseStoreUrl } from './store-url.ts';

describe('the URL of a store', () => {
  test('names hosts, a database, a user and a password, each percent-encoded', () => {
    expect(
      parseStoreUrl('postgres://ada:p%40ss%2Fw:rd@db.example:6432/my%20fame?sslmode=verify-full'),
    ).toEqual({
      hosts: [{ host: 'db.example', port: 6432 }],
      database: 'my fame',
      user: 'ada',
      password: 'p@ss/w:rd',
      tls: 'verify-full',
      isProtected: true,
      tlsRootFile: undefined,
      place: 'postgres://db.example:6432/my fame',
    });
  });

  test('has defaults: the port 5432, the name of the user as database, and no TLS', () => {
    expect(parseStoreUrl('postgresql://ada@')).toMatchObject({
      hosts: [{ host: 'localhost', port: 5432 }],
      database: 'ada',
      password: undefined,
      tls: 'disable',
    });
  });

  test.each([
    ['postgres://a@db.example/d', false],
    ['postgres://a@localhost,db.example/d', false],
    ['postgres://a@db.example/d?sslmode=disable', true],
    ['postgres://a@db.example/d?sslmode=require', true],
    ['postgres://a@localhost/d', true],
    ['postgres://a@127.0.0.2:7,[::1]/d', true],
    ['postgres://a@/d?host=/run/postgresql', true],
  ])('is protected if all servers are on this machine, or if it has an sslmode: %s', (url, isProtected) => {
    expect(parseStoreUrl(url)).toMatchObject({ isProtected });
  });

  test.each([
    ['postgres://a@one,two:2/d', ['one:5432', 'two:2']],
    ['postgres://a@one,two/d?port=7', ['one:7', 'two:7']],
    ['postgres://a@[::1]:6/d', ['::1:6']],
    ['postgres://a@/d?host=/run/pg&port=6', ['/run/pg:6']],
  ])('%s names %j', (url, hosts) => {
    expect(parseStoreUrl(url).hosts.map(({ host, port }) => `${host}:${port}`)).toEqual(hosts);
  });

  test.each([
    ['mysql://a:hush@h/d', /is not a URL such as postgres:/],
    ['postgres://:hush@h/d', /names no user/],
    ['postgres://a:hush@h:99999/d', /faulty host or port/],
    ['postgres://a:hush@h/d?sslmode=maybe', /unknown sslmode; expected one of disable, require, verify-full/],
    ['postgres://a:hush@h/d?colour=red', /unknown parameter "colour"/],
    ['postgres://a:b?hush@h/d', /unknown parameter; expected host/],
    ['postgres://a:b?hush', /unknown parameter; expected host/],
    ['postgres://a:hush%ZZ@h/d', /faulty percent-encoding in its password/],
  ])('the fault of %s does not repeat the password', (url, text) => {
    const error = expect.objectContaining({ code: 'CONFIG_INVALID', message: expect.stringMatching(text) });
    expect(() => parseStoreUrl(url)).toThrow(error);
    expect(() => parseStoreUrl(url)).not.toThrow(/hush/);
  });

  test('causes a warning if it leads to another machine without sslmode, and the warning has no password', async () => {
    const warningsOf = async (url: string) => {
      const log = new CaptureLog();
      await expect(openDatabaseStore(url, { log })).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
      return log.lines;
    };
    // An address of this machine that is not one of those that need no TLS. No server listens on port 1.
    const url = 'postgres://ada:hush@[::ffff:127.0.0.1]:1/fame';
    const [warning, ...others] = await warningsOf(url);
    expect(warning).toMatchObject({ level: 'warn', fields: { store: 'postgres://::ffff:127.0.0.1:1/fame' } });
    expect(JSON.stringify(warning)).not.toContain('hush');
    expect(others).toEqual([]);
    expect(await warningsOf(`${url}?sslmode=disable`)).toEqual([]);
  });
});
