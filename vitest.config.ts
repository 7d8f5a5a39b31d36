import { defineConfig } from 'vitest/config';

export default defineConfig({
  // Tests read the TypeScript sources of every workspace, so a test run never sees a stale build.
  resolve: { conditions: ['source'] },
  ssr: { resolve: { conditions: ['source', 'module', 'node', 'development|production'] } },
  test: {
    include: ['{shared,sentinel,agents,client,bin}/**/*.test.ts', 'test/**/*.test.ts', 'bench/**/*.test.ts'],
    exclude: ['**/node_modules/**', '**/dist/**'],
    testTimeout: 20_000,
    hookTimeout: 20_000,
    pool: 'forks',
  },
});
