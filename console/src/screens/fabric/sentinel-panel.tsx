// The panel of another sentinel of the cluster.
import { rateText } from '../../parts/format.ts';
import { Tag, type Tone } from '../../parts/notices.tsx';
import { Facts } from '../../parts/page.tsx';
import { Count, Time } from '../../parts/values.tsx';
import type { SentinelCardModel } from './graph-cards.ts';
import { SidePanel } from './node-panel.tsx';

/** Texts of the states, also for the cards. */
export const SENTINEL_STATES: Readonly<Record<SentinelCardModel['state'], { text: string; tone: Tone }>> = {
  linked: { text: 'linked', tone: 'ok' },
  silent: { text: 'does not answer', tone: 'warning' },
  lost: { text: 'not linked', tone: 'failure' },
};

const NOTES: Readonly<Record<SentinelCardModel['state'], string>> = {
  linked:
    'Health and Doctor show only the sentinel that serves this page. For those of this sentinel, open its own console.',
  silent: 'It did not list its nodes in time. The page shows the last known ones.',
  lost: 'The sentinel has stopped or lost its connection to NATS. Nodes that know the URLs of other sentinels attach there.',
};

export function SentinelPanel({ sentinel, onClose }: { sentinel: SentinelCardModel; onClose: () => void }) {
  const { member, state, nodes, messagesIn, messagesOut } = sentinel;
  const { text, tone } = SENTINEL_STATES[state];
  return (
    <SidePanel title={`Sentinel ${member.id}`} onClose={onClose}>
      <p>
        <Tag tone={tone}>{text}</Tag>
      </p>
      <Facts
        facts={{
          Path: <code>{member.path}</code>,
          Software: member.software,
          Nodes: <Count value={nodes} />,
          'Link to this sentinel': rateText(messagesIn + messagesOut, 'messages'),
          Lost: member.lostAt === undefined ? undefined : <Time t={member.lostAt} />,
        }}
      />
      <p class="muted">{NOTES[state]}</p>
    </SidePanel>
  );
}
