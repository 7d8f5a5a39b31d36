/** The date in the time zone of the process (`TZ`), such as `2026-03-09`. Prompts use the local day of their readers, not that of UTC. */
export function localDay(date: Date): string {
  const pad = (part: number): string => String(part).padStart(2, '0');
  return `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())}`;
}
