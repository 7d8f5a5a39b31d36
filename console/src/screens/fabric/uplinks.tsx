// Connections to a parent and to peers that this sentinel dials. Those that are attached are in the list of nodes.
import type { FabricView } from '../../fabric/nodes.ts';
import { Facts } from '../../parts/page.tsx';
import type { UplinkCardModel } from './graph-cards.ts';
import { SidePanel } from './node-panel.tsx';

/** Cards of the uplinks that are not attached. */
export const readUplinks = (uplinks: FabricView['uplinks']): UplinkCardModel[] =>
  uplinks
    .filter(({ state }) => state !== 'attached')
    .map(({ kind, url, state, reason }) => ({
      kind: 'uplink',
      id: String(url),
      role: String(kind),
      state: String(state),
      reason: typeof reason === 'string' ? reason : undefined,
      messagesIn: 0,
      messagesOut: 0,
    }));

export const UplinkPanel = ({ uplink, onClose }: { uplink: UplinkCardModel; onClose: () => void }) => (
  <SidePanel title={`${uplink.role} ${uplink.id}`} onClose={onClose}>
    <Facts
      facts={{
        Role: uplink.role,
        URL: <code>{uplink.id}</code>,
        State: uplink.state,
        'Last fault': uplink.reason,
      }}
    />
    <p class="muted">The sentinel dials it again until it answers.</p>
  </SidePanel>
);
