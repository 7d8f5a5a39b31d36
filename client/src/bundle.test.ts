import { gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import * as client from './index.ts';

/** `bundle.mjs` is outside of the sources, so it is imported by its path. */
const { bundleClient } = (await import(new URL('../bundle.mjs', import.meta.url).href)) as {
  bundleClient: () => Promise<string>;
};

test('the bundle is one module of less than 43 KB, and exports the names of the package', async () => {
  const text = await bundleClient();
  expect(gzipSync(text, { level: 9 }).byteLength).toBeLessThan(43_000);
  expect(text).not.toMatch(/\bfrom\s*["']/);
  expect(text).toMatch(
    /^\/\*\n@fame-fabric\/client [\s\S]*Contains nanoid:[\s\S]*Copyright 2017 Andrey Sitnik/,
  );
  const bundle = (await import(`data:text/javascript,${encodeURIComponent(text)}`)) as object;
  expect(Object.keys(bundle).sort()).toEqual(Object.keys(client).sort());
});
