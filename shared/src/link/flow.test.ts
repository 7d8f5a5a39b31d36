import { describe, expect, it } from 'vitest';
import { ReceivedFlows } from './flow.ts';

describe('ReceivedFlows', () => {
  const make = () => {
    const grants: string[] = [];
    return { grants, flows: new ReceivedFlows((flowId) => grants.push(flowId)) };
  };

  it('grants credit after 24 messages of each flow', () => {
    const { grants, flows } = make();
    for (let n = 0; n < 23; n++) {
      flows.count('a');
      flows.count('b');
    }
    expect(grants).toEqual([]);
    flows.count('b');
    expect(grants).toEqual(['b']);
    for (let n = 0; n < 24; n++) flows.count('b');
    flows.count('a');
    expect(grants).toEqual(['b', 'b', 'a']);
  });

  it('counts at most 1,024 flows, and grants credit to those that it evicts', () => {
    const { grants, flows } = make();
    for (let n = 0; n < 5_000; n++) flows.count(`flow ${n}`);
    expect(flows.size).toBe(1_024);
    expect(grants).toHaveLength(5_000 - 1_024);
    expect(grants[0]).toBe('flow 0');
  });
});
