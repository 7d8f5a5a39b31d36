// Chromium for tests of pages: that of the machine, headless, driven by Playwright. Nothing is downloaded.
import { existsSync } from 'node:fs';
import { type Browser, chromium } from 'playwright-core';

const PLACES = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

const ARGS = [
  // CI runs as root.
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** Starts the Chromium of this machine, or the program of CHROME_PATH. The caller closes it. @throws if there is none */
export async function startChromium(): Promise<Browser> {
  const executablePath = [process.env.CHROME_PATH ?? '', ...PLACES].find((place) => existsSync(place));
  if (!executablePath) {
    throw new Error(
      `These tests need Chromium, and none is at ${PLACES.join(', ')}. Install it (apt-get install chromium) or set CHROME_PATH.`,
    );
  }
  return chromium.launch({ executablePath, args: ARGS });
}
