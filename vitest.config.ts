import { defineConfig } from 'vitest/config';

export default defineConfig({
  // Tests read the TypeScript sources of every workspace, so a test run never sees a stale build; only tests that start
  // processes run what `npm run build` made.
  resolve: { conditions: ['source'] },
  ssr: { resolve: { conditions: ['source', 'module', 'node', 'development|production'] } },
  test: {
    testTimeout: 20_000,
    hookTimeout: 20_000,
    pool: 'forks',
    projects: [
      {
        extends: true,
        test: {
          name: 'unit',
          include: ['{shared,sentinel,agents,client,bin,bench}/**/*.test.ts', 'test/*.test.ts'],
          exclude: ['**/node_modules/**', '**/dist/**'],
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          // Whole processes on a few cores, with promises about time among them: one file at a time, after the rest, and a
          // second chance for a machine that was busy with something else.
          name: 'system',
          include: ['test/*/**/*.test.ts'],
          exclude: ['**/node_modules/**'],
          maxWorkers: 1,
          fileParallelism: false,
          retry: 1,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
