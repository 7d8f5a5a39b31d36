import { defineConfig } from 'vite';

// The origin of the page, http://localhost:5173, is the one that FAME_ALLOWED_ORIGINS has to list.
export default defineConfig({ server: { port: 5173, strictPort: true } });
