// The operations of agents with conversations, as callers see them. Every kind of agent on every kind of store must pass.
// Part of the contract of docs/protocol.md.

import { describe } from 'vitest';
import { forksConformance } from './conformance/forks.conformance.ts';
import { hostileConformance } from './conformance/hostile-input.conformance.ts';
import { startsConformance } from './conformance/starts.conformance.ts';
import type { AgentKind, StoreKind } from './conformance/subject.conformance.ts';
import { turnsConformance } from './conformance/turns.conformance.ts';

export function operationsConformance(kind: AgentKind, store: StoreKind): void {
  describe(`${kind.name}, ${store.name}`, () => {
    startsConformance(kind, store);
    turnsConformance(kind, store);
    forksConformance(kind, store);
    hostileConformance(kind, store);
  });
}
