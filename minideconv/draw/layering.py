"""Where to put the boxes of a graph: layers by longest path,
an order within each that avoids crossings, straight chains.

The three steps of Sugiyama et al. 1981. The graph is given as `parents`: for each of n boxes, the
boxes whose results enter it; a parent's number is always below its child's. Row 0 is at the top;
every edge leads down. An edge over several rows gets a bend in each row between.
"""


def rows_of(parents) -> list:
    """The row of each box: one below its lowest parent,
    and as far down as its children allow where it has no parents.
    """
    rows = []
    for above in parents:
        rows.append(1 + max((rows[p] for p in above), default=-1))
    highest_child = [None] * len(parents)
    for child in reversed(range(len(parents))):
        if not parents[child] and highest_child[child] is not None:
            rows[child] = highest_child[child] - 1
        for parent in parents[child]:
            known = highest_child[parent]
            highest_child[parent] = rows[child] if known is None else min(rows[child], known)
    return rows


def _with_bends(parents, rows):
    """Rows as lists of points, and each point's neighbours one row up;
    a point is a box (its number) or a bend (parent, child, row).
    """
    table = [[] for _ in range(max(rows) + 1)]
    up = {}
    for box, row in enumerate(rows):
        table[row].append(box)
        up[box] = []
    for child, above in enumerate(parents):
        for parent in dict.fromkeys(above):
            last = parent
            for row in range(rows[parent] + 1, rows[child]):
                bend = (parent, child, row)
                table[row].append(bend)
                up[bend] = [last]
                last = bend
            up[child].append(last)
    return table, up


def _ordered(table, up, down, sweeps: int = 8):
    """The rows reordered by the mean place of each point's neighbours,
    downwards and upwards in turn.
    """
    for sweep in range(sweeps):
        if sweep % 2 == 0:
            for row in range(1, len(table)):
                table[row] = _sorted_below(table[row], table[row - 1], up)
        else:
            for row in range(len(table) - 2, -1, -1):
                table[row] = _sorted_below(table[row], table[row + 1], down)
    return table


def _sorted_below(row, other, neighbours) -> list:
    """The row sorted by the mean place of each point's neighbours in the other row;
    a point without neighbours counts with its own place.
    """
    place = {point: i for i, point in enumerate(other)}
    centres = {}
    for i, point in enumerate(row):
        near = [place[neighbour] for neighbour in neighbours[point]]
        centres[point] = sum(near) / len(near) if near else i
    return sorted(row, key=centres.get)


def _spread(wanted, widths) -> list:
    """The positions nearest to `wanted` (least squares) at which neighbours of these widths,
    in their order, do not overlap.
    """
    groups = []                             # [sum of wanted starts, members]: members that touch move together
    offset = 0.0
    for want, width in zip(wanted, widths, strict=True):
        groups.append([want - width / 2 - offset, 1])
        offset += width
        while len(groups) > 1 and groups[-2][0] / groups[-2][1] > groups[-1][0] / groups[-1][1]:
            total, count = groups.pop()
            groups[-1][0] += total
            groups[-1][1] += count
    starts = [total / count for total, count in groups for _ in range(count)]
    before = 0.0
    positions = []
    for start, width in zip(starts, widths, strict=True):
        positions.append(start + before + width / 2)
        before += width
    return positions


def place(parents, widths, beside=None, bend_width: float = 0.5, rounds: int = 21):
    """Positions of the boxes [(x, row)] and the bends of each edge,
    {(parent, child): [(x, row), ...]}.

    widths: room for each box, gaps included. beside: {box: neighbour} for boxes without parents
    that stand next to another, in its row (the first at its left, the second at its right, and so
    on).
    """
    beside = beside or {}
    rows = _rows_beside(parents, beside)
    table, up = _with_bends([[p for p in above if p not in beside] for above in parents], rows)
    table = [[point for point in row if point not in beside] for row in table]
    down = {point: [] for point in up}
    for point, above in up.items():
        for other in above:
            down[other].append(point)
    table = _ordered(table, up, down)
    room = {point: widths[point] if isinstance(point, int) else bend_width for point in up}
    shifts = _put_beside(table, rows, room, beside)
    x = _straightened(table, up, down, room, shifts, rounds)
    bends = {}
    for row, points in enumerate(table):
        for point in points:
            if not isinstance(point, int):
                bends.setdefault(point[:2], []).append((x[point], row))
    return [(x[box], rows[box]) for box in range(len(parents))], bends


def _put_beside(table, rows, room, beside) -> dict:
    """Put the boxes of `beside` into the table, next to their neighbours.

    Returns box -> (its neighbour, the distance between their centres, negative to the left).
    """
    shifts = {}
    reach = {}                  # (box, side) -> from its centre to the outer edge of what stands on that side
    for box, neighbour in beside.items():
        row = table[rows[neighbour]]
        side = 1 if (neighbour, -1) in reach and (neighbour, 1) not in reach else -1
        start = reach.get((neighbour, side), room[neighbour] / 2)
        reach[neighbour, side] = start + room[box]
        at = row.index(neighbour)
        taken = sum(1 for other in beside if beside[other] == neighbour and other in row[:at]) if side < 0 else 0
        row.insert(at - taken if side < 0 else at + 1, box)
        shifts[box] = neighbour, side * (start + room[box] / 2)
    return shifts


def _straightened(table, up, down, room, shifts, rounds: int) -> dict:
    """Point -> x: down and up in turn, each row goes under (over) what it hangs on,
    so that a chain becomes a straight column.
    """
    x = {point: float(i) for row in table for i, point in enumerate(row)}
    for sweep in range(rounds):
        first, other = (up, down) if sweep % 2 == 0 else (down, up)
        for row in table if sweep % 2 == 0 else table[::-1]:
            wanted = {}
            for point in row:
                if point not in shifts:
                    near = sorted(x[p] for p in first[point] or other[point]) or [x[point]]
                    wanted[point] = (near[(len(near) - 1) // 2] + near[len(near) // 2]) / 2         # the median
            for box, (neighbour, shift) in shifts.items():
                if box in row:
                    wanted[box] = wanted[neighbour] + shift
            x.update(zip(row, _spread([wanted[point] for point in row], [room[point] for point in row]), strict=True))
    return x


def _rows_beside(parents, beside) -> list:
    """rows_of the graph without the boxes that stand beside another, which take that one's row."""
    kept = [box for box in range(len(parents)) if box not in beside]
    number = {box: i for i, box in enumerate(kept)}
    rows = rows_of([[number[p] for p in parents[box] if p not in beside] for box in kept])
    return [rows[number[beside.get(box, box)]] for box in range(len(parents))]
