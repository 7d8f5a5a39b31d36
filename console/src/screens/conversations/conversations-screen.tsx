import { Empty } from '../../parts/notices.tsx';
import { Page } from '../../parts/page.tsx';

export function ConversationsScreen() {
  return (
    <Page title="Conversations">
      <Empty title="Nothing to show yet" />
    </Page>
  );
}
