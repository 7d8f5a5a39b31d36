// The styles come first: those of the screens follow with their files and may refine them.
import './app/theme.css';
import './parts/parts.css';
import './app/shell.css';
import { render } from 'preact';
import { App } from './app/app.tsx';
import { applyTheme } from './app/theme.ts';

applyTheme();
render(<App />, document.getElementById('console')!);
