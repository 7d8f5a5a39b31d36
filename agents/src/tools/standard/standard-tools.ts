// Built-in tools: example weather of three cities, a clock and a calculator.
import { type Clock, systemClock } from '@fame-fabric/shared';
import { z } from 'zod';
import { type AnyTool, ToolError, tool } from '../tool.ts';
import { calculate } from './calculate.ts';

interface Weather {
  [key: string]: string;
  location: string;
  temperature: string;
}

const CITIES: readonly Weather[] = [
  { location: 'Beijing', temperature: '10', unit: 'celsius' },
  { location: 'San Francisco', temperature: '72', unit: 'fahrenheit' },
  { location: 'Paris', temperature: '22', unit: 'celsius' },
];

/** Example tool: fixed weather of three cities, without network access. */
const getCurrentWeather = tool({
  name: 'get_current_weather',
  description: 'Get the current weather in a given location',
  parameters: z.object({
    location: z.string().max(200).describe('The city and state, e.g. San Francisco, CA'),
    unit: z.enum(['celsius', 'fahrenheit']).optional(),
  }),
  toUser: true,
  kit: 'standard',
  execute: ({ location }): Weather => {
    const asked = location.toLowerCase();
    const city = CITIES.find((one) => asked.includes(one.location.toLowerCase()));
    return city ?? { location, temperature: 'unknown' };
  },
});

/** Returns the date and time, in UTC or a time zone. */
const clockTool = (clock: Clock = systemClock) =>
  tool({
    name: 'clock',
    description: 'Get the current date, time and day of the week',
    parameters: z.object({
      time_zone: z
        .string()
        .max(64)
        .optional()
        .describe('An IANA time zone such as Europe/Paris; UTC if left out'),
    }),
    kit: 'standard',
    execute: ({ time_zone: timeZone = 'UTC' }) => {
      const now = new Date(clock.now());
      let format: Intl.DateTimeFormat;
      try {
        format = new Intl.DateTimeFormat('sv-SE', { timeZone, dateStyle: 'short', timeStyle: 'medium' });
      } catch (cause) {
        throw new ToolError(`Unknown time zone "${timeZone}"`, {
          hint: 'Use a name such as Europe/Paris',
          cause,
        });
      }
      const weekday = new Intl.DateTimeFormat('en', { timeZone, weekday: 'long' }).format(now);
      return { utc: now.toISOString(), local: format.format(now), time_zone: timeZone, weekday };
    },
  });

const calculator = tool({
  name: 'calculator',
  description: 'Calculate an arithmetic expression, such as (2 + 3) * sqrt(16) ^ 2',
  parameters: z.object({ expression: z.string().min(1).describe('The expression') }),
  kit: 'standard',
  execute: ({ expression }) => ({ expression, result: calculate(expression) }),
});

/** The tools that ship with an agent. */
export const standardTools = (clock: Clock = systemClock): AnyTool[] => [
  getCurrentWeather,
  clockTool(clock),
  calculator,
];
