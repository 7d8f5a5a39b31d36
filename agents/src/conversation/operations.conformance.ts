// The operations of agents with conversations, as callers see them. Every kind of agent on every kind of store must pass.
import { describe } from 'vitest';
import { approvalsConformance } from './conformance/approvals.conformance.ts';
import { budgetsConformance } from './conformance/budgets.conformance.ts';
import { callerToolsConformance } from './conformance/caller-tools.conformance.ts';
import { eventsConformance } from './conformance/events.conformance.ts';
import { forksConformance } from './conformance/forks.conformance.ts';
import { hostileConformance } from './conformance/hostile-input.conformance.ts';
import { listsConformance } from './conformance/lists.conformance.ts';
import { ownersConformance } from './conformance/owners.conformance.ts';
import { progressConformance } from './conformance/progress.conformance.ts';
import { reportsConformance } from './conformance/reports.conformance.ts';
import { retriesConformance } from './conformance/retries.conformance.ts';
import { startsConformance } from './conformance/starts.conformance.ts';
import type { AgentKind, StoreKind } from './conformance/subject.conformance.ts';
import { turnOptionsConformance } from './conformance/turn-options.conformance.ts';
import { turnsConformance } from './conformance/turns.conformance.ts';

export function operationsConformance(kind: AgentKind, store: StoreKind): void {
  describe(`${kind.name}, ${store.name}`, () => {
    startsConformance(kind, store);
    turnsConformance(kind, store);
    eventsConformance(kind, store);
    progressConformance(kind, store);
    reportsConformance(kind, store);
    listsConformance(kind, store);
    retriesConformance(kind, store);
    forksConformance(kind, store);
    ownersConformance(kind, store);
    if (kind.takes.includes('tools')) callerToolsConformance(kind, store);
    if (kind.takes.includes('instructions')) turnOptionsConformance(kind, store);
    if (kind.hasTools) approvalsConformance(kind, store);
    budgetsConformance(kind, store);
    hostileConformance(kind, store);
  });
}
