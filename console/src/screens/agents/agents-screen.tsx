import { Empty } from '../../parts/notices.tsx';
import { Page } from '../../parts/page.tsx';

export function AgentsScreen() {
  return (
    <Page title="Agents">
      <Empty title="Nothing to show yet" />
    </Page>
  );
}
