"""Where to put the boxes of a graph: layers by longest path, an order within each that avoids crossings, straight chains.

The three steps of Sugiyama et al. 1981. The graph is given as `parents`: for each of n boxes, the boxes whose results enter it; a parent's
number is always below its child's. Row 0 is at the top; every edge leads down. An edge over several rows gets a bend in each row between.
"""


def rows_of(parents) -> list:
    """The row of each box: one below its lowest parent, and as far down as its children allow where it has no parents."""
    rows = []
    for above in parents:
        rows.append(1 + max((rows[p] for p in above), default=-1))
    highest_child = [None] * len(parents)
    for child in reversed(range(len(parents))):
        if not parents[child] and highest_child[child] is not None:
            rows[child] = highest_child[child] - 1
        for parent in parents[child]:
            highest_child[parent] = rows[child] if highest_child[parent] is None else min(rows[child], highest_child[parent])
    return rows


def _with_bends(parents, rows):
    """Rows as lists of points, and each point's neighbours one row up; a point is a box (its number) or a bend (parent, child, row)."""
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
    """The rows reordered by the mean place of each point's neighbours, downwards and upwards in turn."""
    for sweep in range(sweeps):
        downwards = sweep % 2 == 0
        neighbours = up if downwards else down
        for row in range(1, len(table)) if downwards else range(len(table) - 2, -1, -1):
            place = {point: i for i, point in enumerate(table[row - 1 if downwards else row + 1])}
            own = {point: i for i, point in enumerate(table[row])}

            def centre(point):
                near = [place[other] for other in neighbours[point]]
                return sum(near) / len(near) if near else own[point]
            table[row].sort(key=centre)
    return table


def _spread(wanted, widths) -> list:
    """The positions nearest to `wanted` (least squares) at which neighbours of these widths do not overlap, in their order."""
    groups = []                             # [sum of wanted starts, members, start]: members that touch move together
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
    """Positions of the boxes [(x, row)] and the bends of each edge {(parent, child): [(x, row), ...]}.

    widths: room for each box, gaps included. beside: {box: neighbour} for boxes without parents that stand next to another, in its row
    (the first at its left, the second at its right, and so on).
    """
    beside = beside or {}
    table, up = _with_bends([[p for p in above if p not in beside] for above in parents], rows := _rows_beside(parents, beside))
    table = [[point for point in row if point not in beside] for row in table]
    down = {point: [] for point in up}
    for point, above in up.items():
        for other in above:
            down[other].append(point)
    table = _ordered(table, up, down)
    shifts = {}                             # box that stands beside another -> (that one, distance between their centres)
    room = {point: widths[point] if isinstance(point, int) else bend_width for point in up}
    reach = {}                              # (box, side) -> distance from its centre to the last neighbour's outer edge
    for box, neighbour in beside.items():
        row = table[rows[neighbour]]
        side = 1 if (neighbour, -1) in reach and (neighbour, 1) not in reach else -1
        start = reach.get((neighbour, side), room[neighbour] / 2)
        reach[neighbour, side] = start + room[box]
        at = row.index(neighbour)
        taken = sum(1 for other in beside if beside[other] == neighbour and other in row[:at]) if side < 0 else 0
        row.insert(at - taken if side < 0 else at + 1, box)
        shifts[box] = neighbour, side * (start + room[box] / 2)
    x = {point: float(i) for row in table for i, point in enumerate(row)}
    for sweep in range(rounds):             # down and up in turn, each row under (over) what it hangs on: a chain becomes a straight column
        first, other = (up, down) if sweep % 2 == 0 else (down, up)
        for row in table if sweep % 2 == 0 else table[::-1]:
            near = {point: sorted(x[p] for p in first[point] or other[point]) or [x[point]] for point in row if point not in shifts}
            wanted = {point: (ones[(len(ones) - 1) // 2] + ones[len(ones) // 2]) / 2 for point, ones in near.items()}
            wanted.update((box, wanted[neighbour] + shift) for box, (neighbour, shift) in shifts.items() if box in row)
            x.update(zip(row, _spread([wanted[point] for point in row], [room[point] for point in row]), strict=True))
    bends = {}
    for row, points in enumerate(table):
        for point in points:
            if not isinstance(point, int):
                bends.setdefault(point[:2], []).append((x[point], row))
    return [(x[box], rows[box]) for box in range(len(parents))], bends


def _rows_beside(parents, beside) -> list:
    """rows_of the graph without the boxes that stand beside another, which take that one's row."""
    kept = [box for box in range(len(parents)) if box not in beside]
    number = {box: i for i, box in enumerate(kept)}
    rows = rows_of([[number[p] for p in parents[box] if p not in beside] for box in kept])
    return [rows[number[beside.get(box, box)]] for box in range(len(parents))]
