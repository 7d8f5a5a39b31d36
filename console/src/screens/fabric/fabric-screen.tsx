import { Empty } from '../../parts/notices.tsx';
import { Page } from '../../parts/page.tsx';

export function FabricScreen() {
  return (
    <Page title="Fabric">
      <Empty title="Nothing to show yet" />
    </Page>
  );
}
