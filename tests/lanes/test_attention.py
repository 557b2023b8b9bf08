import pytest
import torch
from torch.nn import functional

from wavestack.lanes.attention import MASKS, Attention, rotary_angles, rotary_table, windowed_attention


def test_a_window_over_everything_is_no_window():
    torch.manual_seed(0)
    full, windowed = Attention(8, 100, head_width=4), Attention(8, 100, head_width=4, window=100)
    x = torch.randn(2, 100, 24)
    torch.testing.assert_close(windowed(x)[0], full(x)[0], atol=1e-6, rtol=1e-5)


def test_a_window_sees_its_positions_and_no_other():
    lane = Attention(4, 64, head_width=4, window=5)
    x = torch.randn(1, 40, 12, requires_grad=True)
    (seen,) = torch.autograd.grad(lane(x)[0][0, 30].sum(), x)
    assert seen[0].abs().sum(-1).nonzero().flatten().tolist() == [26, 27, 28, 29, 30]


def test_a_window_s_pieces_are_those_of_the_whole_past():
    """Several rows and heads, a past that is cut, a chunk that fills no piece, single tokens: against a mask over everything."""
    torch.manual_seed(0)
    q, k, v = torch.randn(2, 3, 60, 4), torch.randn(2, 3, 60, 4), torch.randn(2, 3, 60, 4)
    place = torch.arange(60)
    near = (place <= place[:, None]) & (place > place[:, None] - 7)
    expected = functional.scaled_dot_product_attention(q, k, v, attn_mask=near)
    for start, end in ((0, 60), (0, 5), (3, 60), (20, 43), (43, 44), (2, 3), (0, 1)):
        behind = slice(max(0, start - 30), end)
        found = windowed_attention(q[:, :, start:end], k[:, :, behind], v[:, :, behind], min(start, 30), 7)
        torch.testing.assert_close(found, expected[:, :, start:end], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("window", [None, 8])
def test_a_state_keeps_nothing_but_itself(window):
    """No view of the projection that values are read from, and none of the past that a window has left behind."""
    lane = Attention(8, 64, head_width=4, window=window)
    with torch.no_grad():
        state = lane(torch.randn(2, 40, 24))[1]
    assert all(tensor.untyped_storage().nbytes() == tensor.nbytes for tensor in (state.keys, state.values))
    assert state.keys.nbytes + state.values.nbytes == 2 * lane.state_bytes(40)


def test_blocks_share_an_explicit_mask_and_it_goes_with_the_last():
    lanes, x = [Attention(8, 64, head_width=4, explicit_mask=True) for _ in range(3)], torch.randn(2, 40, 24)
    with torch.inference_mode():
        lanes[0](x)
    assert not MASKS
    x.requires_grad_()
    y = sum(lane(x)[0].sum() for lane in lanes)
    (mask,) = MASKS.values()
    assert torch.equal(mask, torch.full((40, 40), float("-inf")).triu(1))
    y.backward()
    del y, mask
    assert not MASKS


def test_rotation_is_as_exact_far_out_as_at_the_start():
    """65,535 in float32 times a frequency would be off by 4e-3 of a turn; the score depends on the distance alone."""
    near, far = rotary_angles(0, 8, 4), rotary_angles(65_528, 65_536, 4)
    for first in (near, far):
        cosines = first[7, :, 0] * first[2, :, 0] + first[7, :, 1] * first[2, :, 1]
        torch.testing.assert_close(cosines, near[5, :, 0], atol=1e-6, rtol=0)
    assert torch.equal(rotary_table(16, 4), rotary_angles(0, 16, 4))


@torch.no_grad()
def test_a_decoded_token_is_written_behind_its_past():
    torch.manual_seed(0)
    lane, x = Attention(8, 2000, head_width=4), torch.randn(2, 700, 24)
    whole, state = lane(x)[0], lane(x[:, :20])[1]
    buffers = set()
    for t in range(20, 700):
        step, state = lane(x[:, t : t + 1], state)
        torch.testing.assert_close(step, whole[:, t : t + 1], atol=1e-5, rtol=1e-4)
        buffers.add(state.keys.data_ptr())
    assert len(buffers) == 3  # moved once in 256 tokens: at 20, 276 and 532
    assert state.keys.shape == (2, 2, 700, 4)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_two_continuations_of_one_past_do_not_meet(mode):
    torch.manual_seed(0)
    lane, x, other = Attention(8, 64, head_width=4), torch.randn(2, 30, 24), torch.randn(2, 5, 24)
    with mode():
        state = lane(x[:, 20:21], lane(x[:, :20])[1])[1]
        kept = state.keys.clone()
        first = lane(x[:, 21:], state)[0]
        second = lane(other, state)[0]
        row = lane(x[1:, 21:], state._replace(keys=state.keys[1:], values=state.values[1:]))[0]
        assert torch.equal(state.keys, kept)
    torch.testing.assert_close(first, lane(x)[0][:, 21:], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(second, lane(torch.cat([x[:, :21], other], 1))[0][:, 21:], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(row, first[1:], atol=1e-5, rtol=1e-4)


def test_a_state_of_inference_goes_on_outside_of_it():
    torch.manual_seed(0)
    lane, x = Attention(8, 64, head_width=4), torch.randn(2, 30, 24)
    with torch.inference_mode():
        state = lane(x[:, 10:20], lane(x[:, :10])[1])[1]
    with torch.no_grad():
        torch.testing.assert_close(lane(x[:, 20:], state)[0], lane(x)[0][:, 20:], atol=1e-5, rtol=1e-4)


def test_refused():
    with pytest.raises(ValueError, match=r"a width of 10 is no multiple of head_width 4"):
        Attention(10, 64, head_width=4)
    with pytest.raises(ValueError, match=r"a head_width of 3 is odd.*use an even one"):
        Attention(9, 64, head_width=3)
    with pytest.raises(ValueError, match=r"window is 0, and must be at least 1"):
        Attention(8, 64, head_width=4, window=0)
    with pytest.raises(ValueError, match=r"a window of 5 has masks of its own; leave out window or explicit_mask"):
        Attention(8, 64, head_width=4, window=5, explicit_mask=True)
