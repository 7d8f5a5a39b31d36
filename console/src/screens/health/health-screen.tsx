import { Empty } from '../../parts/notices.tsx';
import { Page } from '../../parts/page.tsx';

export function HealthScreen() {
  return (
    <Page title="Health">
      <Empty title="Nothing to show yet" />
    </Page>
  );
}
