// The metrics of a sentinel and an agent in a real run: promtool accepts them, the dashboard and the alerts name metrics and labels that
// exist, and no planted secret or text is in a metric or a log line.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { callTools, httpError } from '@fame-fabric/agents/testing';
import { localKeyFile } from '@fame-fabric/shared/node';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import { ROOT } from '../kit/processes.ts';
import { PROMTOOL, promtool } from '../kit/promtool.ts';
import { fetchWithKey, startOurSentinel, temporaryDirectory } from '../kit/sentinel.ts';
import { CHAT, lastUserText, openClient, startAgent, startModel, stopStack } from '../kit/stack.ts';

const PLANTED = {
  key: 'sk-planted1key0123456789',
  bearer: `fk_local_planted2bearer${'0'.repeat(29)}`,
  query: 'planted3query0123456789',
  systemPrompt: 'planted4system',
  question: 'planted5question',
  answer: 'planted6answer',
  failing: 'planted7failing',
  argument: 'planted8argument',
  code: 'planted9code',
  address: 'planted10address@fame.fabric',
  method: 'planted11method',
  refusal: 'planted12refusal',
};
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');

interface Rules {
  groups: { rules: { alert: string; expr: string }[] }[];
}
const ALERTS = ['docs/operating/fame-alerts.yml', 'docs/observability/fame-agent-alerts.yml'];
const alerts = ALERTS.flatMap((path) => (parse(read(path)) as Rules).groups.flatMap(({ rules }) => rules));
const dashboard = JSON.parse(read('docs/observability/grafana-dashboard.json')) as {
  panels: { type: string; title: string; description?: string; targets?: { expr: string }[] }[];
};
const panels = dashboard.panels.filter(({ type }) => type !== 'row');
const expressions = [
  ...alerts.map(({ alert, expr }) => ({ where: alert, expr })),
  ...panels.flatMap(({ title, targets = [] }) => targets.map(({ expr }) => ({ where: title, expr }))),
].map(({ where, expr }) => ({ where, expr: expr.replaceAll('$__rate_interval', '1m') }));

let metrics: { sentinel: string; agent: string };
let logs: { sentinel: string; agent: string };

beforeAll(async () => {
  PROMTOOL.ensure();
  const model = await startModel({
    respond: (request) => {
      const text = lastUserText(request);
      if (text.includes(PLANTED.failing))
        return httpError(400, { message: PLANTED.refusal, code: PLANTED.code });
      const hasResult = request.messages.at(-1)?.role === 'tool';
      if (text.includes('tool') && !hasResult)
        return callTools([{ name: 'calculator', arguments: { expression: PLANTED.argument } }]);
      return `I say ${PLANTED.answer}.`;
    },
  });
  const dataDir = temporaryDirectory();
  writeFileSync(localKeyFile(dataDir), `${PLANTED.bearer}\n`, { mode: 0o600 });
  const env = { FAME_LOG_LEVEL: 'debug', FAME_ADMISSION_TOKEN: PLANTED.bearer };
  const sentinel = await startOurSentinel({ env, dataDir });
  const url = `${sentinel.url}?token=${PLANTED.query}`;
  const agent = await startAgent(url, {
    env: { ...env, OPENAI_API_KEY: PLANTED.key, OPENAI_BASE_URL: model.url, FAME_METRICS_PORT: '0' },
  });
  const client = await openClient(url);
  const conversation = client.conversation(CHAT, { systemPrompt: PLANTED.systemPrompt });
  await conversation.start();
  await conversation.ask(PLANTED.question);
  await conversation.ask(`Use a tool, ${PLANTED.question}.`);
  await expect(conversation.ask(PLANTED.failing)).rejects.toThrow();
  await expect(client.call(PLANTED.address, PLANTED.method, {})).rejects.toThrow();
  const [, authority] = await agent.waitFor(/Metrics: http:\/\/([^/]+)\/metrics/);
  const [ofSentinel, ofAgent] = await Promise.all([
    fetchWithKey(sentinel, '/metrics'),
    fetch(`http://${authority}/metrics`),
  ]);
  metrics = { sentinel: await ofSentinel.text(), agent: await ofAgent.text() };
  const foreign = await fetch(`http://${authority}/metrics`, { headers: { origin: 'http://evil.example' } });
  expect(foreign.status).toBe(403);
  expect((await fetch(`http://${authority}/`)).status).toBe(404);
  await client.close();
  await agent.stop();
  await sentinel.proc.stop();
  logs = { sentinel: sentinel.proc.output, agent: agent.output };
});
afterAll(stopStack);

describe.skipIf(!PROMTOOL.isUsable)('promtool', () => {
  test.each(['sentinel', 'agent'] as const)('has no complaint about the metrics of the %s', (name) => {
    expect(promtool(['check', 'metrics'], { input: metrics[name] })).toBe('');
  });

  test('accepts the alerts, and the expressions of the dashboard as rules', () => {
    const cwd = temporaryDirectory();
    const rules = expressions.map(({ expr }, n) => ({ record: `expression:${n}`, expr }));
    writeFileSync(join(cwd, 'rules.yml'), stringify({ groups: [{ name: 'all', rules }] }));
    expect(promtool(['check', 'rules', 'rules.yml'], { cwd })).toBe('');
    for (const path of ALERTS) expect(promtool(['check', 'rules', join(ROOT, path)])).toBe('');
    writeFileSync(
      join(cwd, 'broken.yml'),
      stringify({ groups: [{ name: 'all', rules: [{ record: 'a:b', expr: 'sum(' }] }] }),
    );
    expect(promtool(['check', 'rules', 'broken.yml'], { cwd })).toContain('broken.yml');
  });

  test('fires an alert about failing turns for the counters of this run, if they keep growing', () => {
    const cwd = temporaryDirectory();
    const names = ['fame_turns_total{outcome="completed"', 'fame_turns_total{outcome="failed"'];
    expect(names.filter((name) => !metrics.agent.includes(name))).toEqual([]);
    const input_series = names.map((name) => ({
      series: `${name},job="fame-agents",instance="a:1"}`,
      values: '0+10x60',
    }));
    const exp_annotations = { summary: 'More than 5 % of the turns of an agent process fail.' };
    const alert_rule_test = [
      { eval_time: '4m', alertname: 'FameTurnsFailing', exp_alerts: [] },
      {
        eval_time: '30m',
        alertname: 'FameTurnsFailing',
        exp_alerts: [{ exp_labels: { instance: 'a:1' }, exp_annotations }],
      },
    ];
    const file = {
      rule_files: [join(ROOT, ALERTS[1]!)],
      evaluation_interval: '1m',
      tests: [{ interval: '1m', input_series, alert_rule_test }],
    };
    writeFileSync(join(cwd, 'test.yml'), stringify(file));
    expect(promtool(['test', 'rules', 'test.yml'], { cwd })).toBe('');
  });
});

describe('the dashboard and the alerts', () => {
  test('show the sentinel, the turns and the models', () => {
    expect(panels.length).toBeGreaterThan(15);
    for (const { title, description } of panels)
      expect({ title, description }).toEqual({ title, description: expect.stringMatching(/\.$/) });
  });

  test.each(expressions.map(({ where, expr }) => [where, expr] as const))('%s: %s', (_, expr) => {
    const all = `${metrics.sentinel}\n${metrics.agent}`;
    for (const [, name, labels = ''] of expr.matchAll(
      /\b((?:fame|gen_ai_client|process|nodejs)_\w+)(?:\{([^}]*)\})?/g,
    )) {
      const family = name!.replace(/_(?:bucket|sum|count)$/, '');
      expect(all).toMatch(new RegExp(`^# TYPE (?:${name}|${family}) `, 'm'));
      // Labels that Prometheus does not add must be those of the metric.
      for (const [, label] of labels.matchAll(/(\w+)=/g)) {
        if (label === 'job') continue;
        expect(labelsOf(family), `${family} has the label ${label}`).toContain(label);
      }
    }
    for (const [, by] of expr.matchAll(/by \(([^)]*)\)/g)) {
      for (const label of by!.split(',').map((one) => one.trim())) {
        if (label === 'instance' || label === 'le') continue;
        const [, name] = /((?:fame|gen_ai_client)_\w+)/.exec(expr)!;
        expect(labelsOf(name!.replace(/_(?:bucket|sum|count)$/, ''))).toContain(label);
      }
    }
  });
});

/** Labels of a metric, from the source, because a metric without samples has none in a run. */
function labelsOf(name: string): string[] {
  const source = ['sentinel/src/http/metrics.ts', 'agents/src/telemetry/turn-metrics.ts']
    .map(read)
    .join('\n');
  const at = source.indexOf(`'${name}'`);
  const end = source.indexOf(');', at);
  const labels = [...source.slice(at, end).matchAll(/'([a-z_]+)'/g)].map(([, label]) => label!);
  return source.slice(at, end).includes('MODEL_LABELS')
    ? [...labels, 'gen_ai_operation_name', 'gen_ai_provider_name', 'gen_ai_request_model']
    : labels;
}

describe('the logs', () => {
  test.each(['sentinel', 'agent'] as const)(
    'of the %s are JSON lines of one clock, from start to stop',
    (name) => {
      const lines = logs[name].split('\n').filter(Boolean);
      const entries = lines.map((line) => JSON.parse(line) as { level: string; time: string; msg: string });
      for (const { level, time } of entries) {
        expect(['trace', 'debug', 'info', 'warn', 'error']).toContain(level);
        expect(new Date(time).toISOString()).toBe(time);
      }
      expect(entries[0]!.msg).toMatch(name === 'sentinel' ? /listens on/ : /store opened/);
      expect(entries.at(-1)!.msg).toMatch(/stopped/i);
    },
  );

  test('of the agent name the conversation and the turn of a failed request', () => {
    const lines = logs.agent.split('\n').filter((line) => line.includes('conversation_id'));
    for (const line of lines) expect(JSON.parse(line)).toMatchObject({ turn_id: expect.any(String) });
  });
});

test('P21: no planted secret or text is in a metric or a log', () => {
  for (const [where, text] of Object.entries({ ...metrics, logs: logs.agent + logs.sentinel })) {
    const found = Object.values(PLANTED).filter((one) => text.includes(one));
    expect({ where, found }).toEqual({ where, found: [] });
  }
  // The run had these events.
  expect(metrics.agent).toMatch(/^fame_turns_total\{outcome="failed"\} 1$/m);
  expect(metrics.agent).toMatch(/^fame_model_errors_total\{code="MODEL_REFUSED"\} [12]$/m);
  expect(metrics.agent).toMatch(/^fame_tool_calls_total\{result="\w+"\} 1$/m);
  expect(metrics.sentinel).toMatch(/^fame_refused_total\{code="NO_ROUTE"\} [1-9]/m);
});
