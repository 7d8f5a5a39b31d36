import { Empty } from '../../parts/notices.tsx';
import { Page } from '../../parts/page.tsx';

export function DoctorScreen() {
  return (
    <Page title="Doctor">
      <Empty title="Nothing to show yet" />
    </Page>
  );
}
