import { Empty } from '../../parts/notices.tsx';
import { Page } from '../../parts/page.tsx';

export function TalkScreen() {
  return (
    <Page title="Talk">
      <Empty title="Nothing to show yet" />
    </Page>
  );
}
