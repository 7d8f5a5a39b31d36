// Conversations: the list over all agents, one conversation as a timeline, and two of them side by side.
import { CompareView } from './compare-view.tsx';
import { ConversationView } from './conversation-view.tsx';
import './conversations.css';
import { ListView } from './list-view.tsx';

/** `#/conversations`, `.../AGENT/ID`, `.../AGENT/ID/TURN` and `.../AGENT/ID/compare/OTHER`. */
export function ConversationsScreen({ args }: { args: readonly string[] }) {
  const [address, id, turn, other] = args;
  if (address === undefined || id === undefined) return <ListView />;
  const key = `${address} ${id}`;
  if (turn === 'compare' && other !== undefined)
    return <CompareView key={`${key} ${other}`} address={address} ids={[id, other]} />;
  return <ConversationView key={key} address={address} id={id} openTurn={turn} />;
}
