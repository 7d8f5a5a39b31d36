// Texts of durations, sizes, numbers and amounts. Pure functions; `values.tsx` shows them.

/** A duration in ms as text: `0.4 ms`, `12 ms`, `3.2 s`, `4 min 5 s`, `2 h 3 min`, `3 d 4 h`. */
export function durationText(ms: number): string {
  if (!Number.isFinite(ms)) return '–';
  if (ms < 0) return `-${durationText(-ms)}`;
  if (ms < 10) return `${trim(ms, ms < 1 ? 2 : 1)} ms`;
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  if (ms < 59_950) return `${trim(ms / 1_000, ms < 9_995 ? 2 : 1)} s`;
  const seconds = Math.round(ms / 1_000);
  if (seconds < 3_600) return pair(seconds, 60, 'min', 's');
  const minutes = Math.round(seconds / 60);
  return minutes < 24 * 60 ? pair(minutes, 60, 'h', 'min') : pair(Math.round(minutes / 60), 24, 'd', 'h');
}

function pair(value: number, base: number, large: string, small: string): string {
  const rest = value % base;
  const whole = `${Math.floor(value / base)} ${large}`;
  return rest === 0 ? whole : `${whole} ${rest} ${small}`;
}

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

/** A size in bytes as text: `512 B`, `1.5 KiB`, `20 MiB`. */
export function bytesText(bytes: number): string {
  let unit = 0;
  let value = bytes;
  while (value >= 1_023.5 && unit < UNITS.length - 1) {
    value /= 1_024;
    unit++;
  }
  return `${trim(value, unit > 0 && value < 9.95 ? 1 : 0)} ${UNITS[unit]}`;
}

const COUNT = new Intl.NumberFormat('en', { maximumFractionDigits: 1 });
const COMPACT = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });

/** A number with separators below a million, and compact from there: `1.2M`. */
export const countText = (value: number): string =>
  Math.abs(value) < 1_000_000 ? COUNT.format(value) : COMPACT.format(value);

/** A rate as text: `12/s`, `0.25/s`, `1.5k/s`; with a unit, `12 messages/s`. */
export function rateText(perSecond: number, unit = ''): string {
  const end = unit === '' ? '/s' : ` ${unit}/s`;
  if (perSecond >= 999_500) return `${rateDigits(perSecond / 1_000_000)}M${end}`;
  return perSecond >= 999.5 ? `${rateDigits(perSecond / 1_000)}k${end}` : `${rateDigits(perSecond)}${end}`;
}

/** Two significant digits below ten, three above. */
const rateDigits = (value: number): string => String(Number(value.toPrecision(value < 10 ? 2 : 3)));

/** An amount of money. Small amounts keep two significant digits: `0.0042 USD`. */
export function moneyText(amount: number, currency: string): string {
  const digits = amount === 0 || Math.abs(amount) >= 0.01 ? 2 : 1 - Math.floor(Math.log10(Math.abs(amount)));
  return `${amount.toFixed(Math.min(digits, 10))} ${currency}`;
}

/** The local time of day with milliseconds: `14:03:09.123`. `t` is in ms since the epoch. */
export function timeText(t: number): string {
  const date = new Date(t);
  const two = (value: number): string => String(value).padStart(2, '0');
  const ms = String(date.getMilliseconds()).padStart(3, '0');
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${ms}`;
}

const trim = (value: number, digits: number): string => String(Number(value.toFixed(digits)));
