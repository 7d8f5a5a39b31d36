import { describe, expect, it } from 'vitest';
import { ReceivedFlows } from './flow.ts';

describe('ReceivedFlows', () => {
  const make = () => {
    const paid: string[] = [];
    return { paid, flows: new ReceivedFlows((flowId) => paid.push(flowId)) };
  };

  it('pays a flow after 24 messages of it, each flow by itself', () => {
    const { paid, flows } = make();
    for (let n = 0; n < 23; n++) {
      flows.count('a');
      flows.count('b');
    }
    expect(paid).toEqual([]);
    flows.count('b');
    expect(paid).toEqual(['b']);
    for (let n = 0; n < 24; n++) flows.count('b');
    flows.count('a');
    expect(paid).toEqual(['b', 'b', 'a']);
  });

  it('keeps at most 1,024 flows, and pays those that it lets go', () => {
    const { paid, flows } = make();
    for (let n = 0; n < 5_000; n++) flows.count(`flow ${n}`);
    expect(flows.size).toBe(1_024);
    expect(paid).toHaveLength(5_000 - 1_024);
    expect(paid[0]).toBe('flow 0');
  });
});
