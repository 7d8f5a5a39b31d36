import { Empty } from '../../parts/notices.tsx';
import { Page } from '../../parts/page.tsx';

export function TraceScreen() {
  return (
    <Page title="Trace">
      <Empty title="Nothing to show yet" />
    </Page>
  );
}
