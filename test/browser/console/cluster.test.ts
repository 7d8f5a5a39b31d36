// The console of one sentinel of a cluster: the nodes, agents and messages of all sentinels, on a real nats-server; a lost sentinel, and
// the loss of NATS.
import type { Locator, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { clusterEnv, NATS_SERVER, type NatsServer, startNats } from '../../kit/nats.ts';
import { RawNodes } from '../../kit/raw-node.ts';
import { fetchWithKey, localKey, type OurSentinel, startOurSentinel } from '../../kit/sentinel.ts';
import { startConsole, type TestConsole } from './kit.ts';

describe.skipIf(!NATS_SERVER.isUsable)('a cluster of two sentinels', () => {
  let nats: NatsServer;
  let fabric: TestConsole;
  let far: OurSentinel;
  let page: Page;
  const nodes = new RawNodes(() => far.url);

  beforeAll(async () => {
    nats = await startNats({ hasJetStream: true });
    fabric = await startConsole({
      respond: () => 'The answer is **42**.',
      sentinel: { env: clusterEnv(nats, 'near') },
    });
    far = await startOurSentinel({ env: clusterEnv(nats, 'far') });
    await fabric.startAgent({ env: { FAME_NODE_ID: 'replica-1' } }, far);
    page = await fabric.open('#/fabric');
  });
  afterAll(async () => {
    await nodes.closeAll();
    await fabric.close();
  });

  const options = () => ({ ws: { headers: { authorization: `Bearer ${localKey(far.dataDir)}` } } });
  const card = (text: string): Locator => page.locator('.fabric-card').filter({ hasText: text });
  const sentinelCard = (id: string): Locator => page.locator(`.fabric-sentinel[data-card="/${id}"]`);
  const panel = (): Locator => page.locator('.fabric-panel');

  test('Fabric shows the other sentinel with its nodes', async () => {
    await sentinelCard('far').getByText('1 node').waitFor();
    await card('chat@fame.fabric').click();
    await panel().getByText('far', { exact: true }).waitFor();
    await page.getByRole('status').getByText('2 nodes at 2 sentinels').waitFor();
    await sentinelCard('far').click();
    await panel().getByRole('heading', { name: 'Sentinel far' }).waitFor();
    await panel().getByText('linked', { exact: true }).waitFor();
    await panel().getByText('/far', { exact: true }).waitFor();
    await page.keyboard.press('Escape');
  });

  test('changes at the other sentinel appear, and an administrator acts on its nodes', async () => {
    const node = await nodes.attached(options());
    await node.serve('target@fame.fabric');
    await card('target').click();
    await panel().getByRole('button', { name: 'Disconnect…' }).click();
    const dialog = page.getByRole('dialog', { name: 'Disconnect target@fame.fabric' });
    await dialog.getByRole('button', { name: 'Disconnect' }).click();
    await expect.poll(() => node.isClosed).toBe(true);
    await expect.poll(() => card('target').getAttribute('data-state')).toBe('gone');
    await page.keyboard.press('Escape');
  });

  test('Talk and the doors reach the agent, and Trace shows its messages at both sentinels', async () => {
    await page.goto(`${fabric.sentinel.http}/console/#/talk/chat@fame.fabric`);
    await page.getByLabel('Message', { exact: true }).fill('What is 6 times 7?');
    await page.keyboard.press('Enter');
    await page.getByText('The answer is 42.').waitFor();
    await page.goto(`${fabric.sentinel.http}/console/#/trace`);
    const rows = page.locator('.virtual-row');
    await rows.filter({ hasText: 'near' }).first().waitFor();
    await rows.filter({ hasText: 'far' }).first().waitFor();
    // The request: heartbeats of the agent have no story.
    await rows.filter({ hasText: 'this page' }).filter({ hasText: 'chat@fame.fabric' }).first().click();
    const lanes = page.locator('.story-name');
    await expect
      .poll(() => lanes.allTextContents())
      .toEqual(expect.arrayContaining([expect.stringContaining('near'), expect.stringContaining('far')]));
    const models = await fetchWithKey(fabric.sentinel, '/v1/models');
    const { data } = (await models.json()) as { data: { id: string }[] };
    expect(data.map(({ id }) => id)).toContain('chat@fame.fabric');
    const card = await fetchWithKey(fabric.sentinel, '/a2a/chat/.well-known/agent-card.json');
    expect(card.status).toBe(200);
  });

  test('Agents and Doctor know the agent at the other sentinel', async () => {
    await page.goto(`${fabric.sentinel.http}/console/#/agents`);
    await page
      .getByRole('link', { name: /chat@fame\.fabric/ })
      .first()
      .waitFor();
    await page.goto(`${fabric.sentinel.http}/console/#/doctor`);
    await page.getByText('A node at another sentinel of the cluster serves chat@fame.fabric.').waitFor();
  });

  test('a killed sentinel is shown as not linked, and returns', async () => {
    await page.goto(`${fabric.sentinel.http}/console/#/fabric`);
    await sentinelCard('far').getByText('1 node').waitFor();
    const { port, dataDir } = far;
    await far.proc.kill();
    await expect.poll(() => sentinelCard('far').getAttribute('data-state')).toBe('lost');
    await sentinelCard('far').getByText('not linked, 0 nodes').waitFor();
    far = await startOurSentinel({ port, dataDir, env: clusterEnv(nats, 'far') });
    await sentinelCard('far').getByText('1 node').waitFor();
    await expect.poll(() => sentinelCard('far').getAttribute('data-state')).toBe('linked');
  });

  test('without NATS the screen shows a notice, and recovers', async () => {
    await nats.kill();
    const notice = page.getByRole('alert').filter({ hasText: 'The sentinel near has no connection to NATS' });
    await notice.waitFor();
    await nats.start();
    await notice.waitFor({ state: 'detached' });
    await expect.poll(() => sentinelCard('far').getAttribute('data-state')).toBe('linked');
  });

  test('no page wrote an error', () => {
    expect(fabric.faults).toEqual([]);
  });
});
