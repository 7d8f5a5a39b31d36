// The card of one agent in the catalogue.
import type { OperationDescription } from '@fame-fabric/shared';
import { href } from '../../app/router.ts';
import type { CatalogueEntry } from '../../fabric/catalogue.ts';
import { describeError, Tag } from '../../parts/notices.tsx';

/** Operations of a card that are named on it. */
const SHOWN = 6;

/** The operations of an agent. Another node sent the description, so entries without a name are left out. */
export function operationsOf({ description }: CatalogueEntry): readonly OperationDescription[] {
  const operations: unknown = description?.operations;
  if (!Array.isArray(operations)) return [];
  return operations.filter((one) => typeof one?.name === 'string');
}

export function AgentCard({ entry }: { entry: CatalogueEntry }) {
  const { address, description, error } = entry;
  const operations = operationsOf(entry);
  const model = description?.model;
  const left = operations.length - SHOWN;
  return (
    <li class="panel agents-card">
      <h2>
        <a href={href('agents', address)}>{address}</a>
      </h2>
      {description?.description && <p>{description.description}</p>}
      {!description && error === undefined && <p class="muted">Asking for its operations…</p>}
      {error !== undefined && (
        <p class="muted">It does not list its operations ({describeError(error).code ?? 'error'}).</p>
      )}
      <div class="agents-tags">
        {typeof model === 'string' && <Tag tone="accent">{model}</Tag>}
        {description?.tasks && <Tag>tasks</Tag>}
        {operations.some(({ name }) => name === 'describe_team') && <Tag>team</Tag>}
      </div>
      {operations.length > 0 && (
        <ul class="agents-tags">
          {operations.slice(0, SHOWN).map(({ name }) => (
            <li key={name}>
              <a href={href('agents', address, name)}>{name}</a>
            </li>
          ))}
          {left > 0 && <li class="muted">and {left} more</li>}
        </ul>
      )}
    </li>
  );
}
