import { Empty } from '../../parts/notices.tsx';
import { Page } from '../../parts/page.tsx';

export function TeamsScreen() {
  return (
    <Page title="Teams">
      <Empty title="Nothing to show yet" />
    </Page>
  );
}
