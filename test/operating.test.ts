// The configuration of Prometheus in docs/operating: its rules name metrics and codes that exist.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ERRORS } from '@fame-fabric/shared';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { ROOT } from './kit/processes.ts';

const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');

interface Rule {
  alert: string;
  expr: string;
  annotations: { summary: string };
}

const { groups } = parse(read('docs/operating/fame-alerts.yml')) as { groups: { rules: Rule[] }[] };
const rules = groups.flatMap((group) => group.rules);
const METRICS = new Set(
  ['sentinel/src/http/metrics.ts', 'shared/src/metrics/process-metrics.ts']
    .flatMap((file) => [...read(file).matchAll(/'((?:fame|process|nodejs)_\w+)'/g)])
    .map(([, name]) => name),
);

test.each(rules.map((rule) => [rule.alert, rule] as const))('%s', (_, { expr, annotations }) => {
  const names = expr.match(/\b(?:fame|process|nodejs)_\w+/g) ?? [];
  expect(names.filter((name) => !METRICS.has(name))).toEqual([]);
  expect(names.length + Number(expr.startsWith('up{'))).toBeGreaterThan(0);
  for (const [, code] of expr.matchAll(/code="(\w+)"/g)) expect(ERRORS).toHaveProperty(code!);
  expect(annotations.summary).toMatch(/\.$/);
});

test('the job scrapes the default port, and has the label that the rules use', () => {
  const { scrape_configs: jobs } = parse(read('docs/operating/prometheus.yml')) as {
    scrape_configs: { job_name: string; static_configs: { targets: string[] }[] }[];
  };
  expect(jobs).toHaveLength(1);
  expect(jobs[0]).toMatchObject({ job_name: 'fame', static_configs: [{ targets: ['127.0.0.1:8000'] }] });
});
