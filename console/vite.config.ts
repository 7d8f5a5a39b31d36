import { defineConfig } from 'vite';

// Builds the page that the package ships. Paths are relative, so that any door can serve the folder under any path.
export default defineConfig({
  base: './',
  logLevel: 'warn',
  build: {
    outDir: 'dist/page',
    emptyOutDir: true,
    target: 'es2024',
    // The policy of the page allows no inline content.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    license: { fileName: 'licenses.md' },
  },
});
