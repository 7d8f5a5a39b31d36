// Disconnect and drain: two actions of an administrator, each after a confirmation.
import { useRef, useState } from 'preact/hooks';
import { sendJson } from '../../fabric/api.ts';
import type { NodeView } from '../../fabric/nodes.ts';
import { Button } from '../../parts/form.tsx';
import { Problem } from '../../parts/notices.tsx';
import { nodeName } from './graph-cards.ts';

type Action = 'disconnect' | 'drain';

const TEXTS: Readonly<Record<Action, { label: string; effect: string; done: string }>> = {
  disconnect: {
    label: 'Disconnect',
    effect:
      'The sentinel ends its session at once, and its open calls fail. The node may attach again; revoke its key to keep it out.',
    done: 'The session of the node has ended.',
  },
  drain: {
    label: 'Drain',
    effect:
      'The node gets no new calls and finishes those it has. It stays attached, and gets calls again after its next start.',
    done: 'The node gets no new calls.',
  },
};

export function NodeActions({ node }: { node: NodeView }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [action, setAction] = useState<Action>('drain');
  const [isBusy, setBusy] = useState(false);
  const [outcome, setOutcome] = useState<{ done?: string; error?: unknown }>({});
  const { label, effect, done } = TEXTS[action];

  const open = (next: Action): void => {
    setAction(next);
    setOutcome({});
    dialog.current?.showModal();
  };
  const confirm = async (): Promise<void> => {
    setBusy(true);
    try {
      await sendJson(`/fame/v1/nodes/${action}`, { path: node.path });
      setOutcome({ done });
    } catch (error) {
      setOutcome({ error });
    }
    setBusy(false);
    dialog.current?.close();
  };

  return (
    <section class="fabric-actions" aria-label="Actions">
      {!node.isDraining && <Button onClick={() => open('drain')}>Drain…</Button>}
      <Button kind="danger" onClick={() => open('disconnect')}>
        Disconnect…
      </Button>
      <p role="status">{outcome.done}</p>
      {outcome.error !== undefined && <Problem error={outcome.error} />}
      <dialog ref={dialog} class="fabric-dialog" aria-label={`${label} ${nodeName(node)}`}>
        <h2>
          {label} {nodeName(node)}?
        </h2>
        <p>{effect}</p>
        <p class="muted">
          <code>{node.path}</code>
        </p>
        <div class="page-actions">
          <Button onClick={() => dialog.current?.close()}>Cancel</Button>
          <Button kind="danger" disabled={isBusy} onClick={confirm}>
            {label}
          </Button>
        </div>
      </dialog>
    </section>
  );
}
