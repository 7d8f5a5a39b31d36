// The choice of a conversation to compare with: the forks of this one, its origin, or any id.
import { useEffect, useState } from 'preact/hooks';
import { href, navigate } from '../../app/router.ts';
import { client } from '../../fabric/connection.ts';
import { Button, Field } from '../../parts/form.tsx';
import { visibleText } from '../../parts/markdown.tsx';
import { Panel } from '../../parts/page.tsx';

/** Latest conversations of the agent among which forks are looked for. */
const LISTED = 200;

export function CompareForm({
  address,
  id,
  origin,
}: {
  address: string;
  id: string;
  origin: string | undefined;
}) {
  const [related, setRelated] = useState<readonly string[]>([]);
  const [other, setOther] = useState('');
  const connected = client.value;
  useEffect(() => {
    let isCurrent = true;
    // Without the list, the field for an id remains.
    connected
      ?.conversations(address)
      .list({ limit: LISTED })
      .then(({ conversations }) => {
        const forks = conversations.filter(({ forked_from: from }) => {
          const source = from?.conversation_id;
          return source !== undefined && (source === id || source === origin);
        });
        const ids = [...(origin === undefined ? [] : [origin]), ...forks.map((fork) => fork.id)];
        if (isCurrent) setRelated([...new Set(ids)].filter((one) => one !== id));
      })
      .catch(() => undefined);
    return () => {
      isCurrent = false;
    };
  }, [connected, address, id, origin]);
  return (
    <Panel title="Compare">
      {related.length > 0 && (
        <ul class="related">
          {related.map((one) => (
            <li key={one}>
              <a href={href('conversations', address, id, 'compare', one)}>{visibleText(one)}</a>{' '}
              <span class="muted">{one === origin ? 'the origin of this fork' : 'a fork'}</span>
            </li>
          ))}
        </ul>
      )}
      <form
        class="compare-form"
        onSubmit={(event) => {
          event.preventDefault();
          if (other.trim() !== '') navigate(['conversations', address, id, 'compare', other.trim()]);
        }}
      >
        <Field label="Id of another conversation of this agent">
          {(control) => (
            <input
              {...control}
              value={other}
              onInput={({ currentTarget }) => setOther(currentTarget.value)}
            />
          )}
        </Field>
        <Button type="submit" disabled={other.trim() === ''}>
          Compare
        </Button>
      </form>
    </Panel>
  );
}
