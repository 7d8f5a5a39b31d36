// biome-ignore-all lint/a11y/useSemanticElements: rows of a table cannot be placed, so the list has the roles of one
// biome-ignore-all lint/a11y/useFocusableInteractive: the grid has the focus, and an active row
// biome-ignore-all lint/a11y/useKeyWithClickEvents: the grid handles the keys
// A list of any length that renders the visible rows only. All rows have one height, so that a position is a division and new
// rows cost nothing until they are visible.
import type { ComponentChildren } from 'preact';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';

/** Rows that are rendered above and below the visible ones. */
const OVERSCAN = 8;

export interface VirtualListProps<T> {
  /** The name of the list for screen readers. */
  label: string;
  rows: readonly T[];
  /** Height of every row, in px. */
  rowHeight: number;
  /** The number of a row. It ascends from row to row and never changes. */
  rowKey: (row: T) => number;
  /** The cells of a row, as `Cell`. */
  renderRow: (row: T) => ComponentChildren;
  /** The header row, as `HeaderCell`. */
  header: ComponentChildren;
  /** Rows that were removed at the start so far. While it grows, the visible rows stay in place. */
  removedRows: number;
  /** True while the list shows its last row and follows new ones. */
  isFollowing: boolean;
  /** Called when the person scrolls away from the end or back to it. */
  onFollow: (isFollowing: boolean) => void;
  /** Called for Enter or a click on a row. */
  onOpen: (row: T) => void;
  /** True for the rows that are open. */
  isOpen: (row: T) => boolean;
}

interface CellProps {
  class?: string;
  title?: string | undefined;
  children?: ComponentChildren;
}
export const Cell = (props: CellProps) => <span role="gridcell" {...props} />;
export const HeaderCell = (props: CellProps) => <span role="columnheader" {...props} />;

/** A grid with the focus on the whole list and an active row: arrows, Page Up and Down, Home and End move, Enter opens. */
export function VirtualList<T>(props: VirtualListProps<T>) {
  const {
    label,
    rows,
    rowHeight,
    rowKey,
    renderRow,
    header,
    removedRows,
    isFollowing,
    onFollow,
    onOpen,
    isOpen,
  } = props;
  const box = useRef<HTMLDivElement>(null);
  const [view, setView] = useState({ top: 0, height: 600 });
  const [active, setActive] = useState<number>();
  // The position of the active row moves when rows are removed at the start.
  const activeIndex = active === undefined ? -1 : indexOfKey(rows, rowKey, active);
  const removedBefore = useRef(removedRows);

  useLayoutEffect(() => {
    const element = box.current!;
    const removed = removedRows - removedBefore.current;
    removedBefore.current = removedRows;
    if (isFollowing) element.scrollTop = element.scrollHeight;
    else if (removed > 0) element.scrollTop -= removed * rowHeight;
  });
  useEffect(() => {
    const element = box.current!;
    const observer = new ResizeObserver(() =>
      setView({ top: element.scrollTop, height: element.clientHeight }),
    );
    observer.observe(element);
    return () => observer.disconnect();
  }, []);

  const onScroll = (): void => {
    const { scrollTop, clientHeight, scrollHeight } = box.current!;
    setView({ top: scrollTop, height: clientHeight });
    const isAtEnd = scrollTop + clientHeight >= scrollHeight - rowHeight;
    if (isAtEnd !== isFollowing) onFollow(isAtEnd);
  };
  const moveTo = (index: number): void => {
    const target = Math.max(0, Math.min(index, rows.length - 1));
    const row = rows[target];
    if (row === undefined) return;
    setActive(rowKey(row));
    const element = box.current!;
    const top = target * rowHeight;
    const headerHeight = rowHeight;
    if (top < element.scrollTop) element.scrollTop = top;
    else if (top + rowHeight > element.scrollTop + element.clientHeight - headerHeight) {
      element.scrollTop = top + rowHeight - element.clientHeight + headerHeight;
    }
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    const page = Math.max(1, Math.floor(view.height / rowHeight) - 2);
    const from = activeIndex >= 0 ? activeIndex : Math.floor(view.top / rowHeight) - 1;
    const to = {
      ArrowDown: from + 1,
      ArrowUp: activeIndex >= 0 ? from - 1 : rows.length - 1,
      PageDown: from + page,
      PageUp: from - page,
      Home: 0,
      End: rows.length - 1,
    }[event.key];
    if (to !== undefined) {
      event.preventDefault();
      moveTo(to);
    } else if (event.key === 'Enter' && activeIndex >= 0) onOpen(rows[activeIndex]!);
  };

  const start = Math.max(0, Math.floor(view.top / rowHeight) - OVERSCAN);
  const end = Math.min(rows.length, Math.ceil((view.top + view.height) / rowHeight) + OVERSCAN);
  // Rows that scroll in reuse the elements of those that scrolled out.
  const slots = Math.ceil(view.height / rowHeight) + 2 * OVERSCAN + 1;
  const idOf = (row: T): string => `row-${rowKey(row)}`;
  const isActiveShown = activeIndex >= start && activeIndex < end;
  return (
    <div
      ref={box}
      class="virtual-list"
      role="grid"
      aria-label={label}
      aria-rowcount={rows.length + 1}
      aria-activedescendant={isActiveShown ? idOf(rows[activeIndex]!) : undefined}
      tabIndex={0}
      onScroll={onScroll}
      onKeyDown={onKeyDown}
    >
      <div class="virtual-header" role="row" aria-rowindex={1} style={{ height: `${rowHeight}px` }}>
        {header}
      </div>
      <div class="virtual-rows" role="rowgroup" style={{ height: `${rows.length * rowHeight}px` }}>
        {rows.slice(start, end).map((row, offset) => {
          const key = rowKey(row);
          return (
            <div
              key={(start + offset) % slots}
              id={idOf(row)}
              role="row"
              class={`virtual-row${key === active ? ' is-active' : ''}${isOpen(row) ? ' is-open' : ''}`}
              aria-rowindex={start + offset + 2}
              aria-selected={isOpen(row)}
              style={{ height: `${rowHeight}px`, transform: `translateY(${(start + offset) * rowHeight}px)` }}
              onClick={() => {
                setActive(key);
                onOpen(row);
              }}
            >
              {renderRow(row)}
            </div>
          );
        })}
      </div>
    </div>
  );
}

/** The position of a key, by binary search; -1 without it. */
function indexOfKey<T>(rows: readonly T[], rowKey: (row: T) => number, key: number): number {
  let from = 0;
  let to = rows.length - 1;
  while (from <= to) {
    const middle = (from + to) >> 1;
    const found = rowKey(rows[middle]!);
    if (found === key) return middle;
    if (found < key) from = middle + 1;
    else to = middle - 1;
  }
  return -1;
}
