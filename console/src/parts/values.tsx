// Values with their units. Each shows the exact value as its title.
import { bytesText, countText, durationText, moneyText, timeText } from './format.ts';

/** A duration in ms. */
export const Duration = ({ ms }: { ms: number }) => (
  <span class="value" title={`${ms} ms`}>
    {durationText(ms)}
  </span>
);

/** A size in bytes. */
export const Bytes = ({ value }: { value: number }) => (
  <span class="value" title={`${value} bytes`}>
    {bytesText(value)}
  </span>
);

export const Count = ({ value }: { value: number }) => (
  <span class="value" title={String(value)}>
    {countText(value)}
  </span>
);

/** An amount in a currency such as `USD`. */
export const Money = ({ amount, currency }: { amount: number; currency: string }) => (
  <span class="value" title={`${amount} ${currency}`}>
    {moneyText(amount, currency)}
  </span>
);

/** The local time of day of `t`, in ms since the epoch. */
export const Time = ({ t }: { t: number }) => (
  <time class="value" dateTime={new Date(t).toISOString()} title={new Date(t).toLocaleString()}>
    {timeText(t)}
  </time>
);
